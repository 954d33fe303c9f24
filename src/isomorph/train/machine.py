"""Devices and processes: what the machine has, and how the work is divided."""

from __future__ import annotations

import os
import signal
from typing import Any

from ..config import Training
from ..errors import SetupError, UsageError

WORKERS = 8  # at most: more make no sample sooner than a step wants it


def accelerator(settings: Training) -> Any:
    """One device, several, or several machines: whatever `accelerate launch` set up.

    Parameters
    ----------
    settings : Training

    Raises
    ------
    SetupError
        If accelerate is not installed.
    UsageError
        If the precision is not to be had here.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise SetupError("E905 training needs accelerate; type: pip install 'isomorph[train]'") from None
    apart = any(stage.part for stage in settings.stages)  # then a step leaves some weights alone
    wrapping = DistributedDataParallelKwargs(find_unused_parameters=apart)
    precision = "no" if settings.precision == "fp32" else settings.precision
    try:
        return Accelerator(mixed_precision=precision, kwargs_handlers=[wrapping])
    except ValueError as error:
        raise UsageError(f"precision {settings.precision} is not to be had here ({error}); try fp32.") from None


def spare(accelerator: Any) -> int:
    """Processes that can make samples while the network runs: the cores that it leaves to this process."""
    if accelerator.device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return min(WORKERS, max(1, cores // accelerator.num_processes - 1))


def deaf(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; only the one that trains should answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
