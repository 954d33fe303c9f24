"""Devices, processes and disk: what the machine has, and how the work is divided."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..config import Training
from ..device import choose_precision
from ..errors import SetupError, UsageError, require_packages

WORKERS = 8  # at most: more make no sample sooner than a step wants it


def require() -> None:
    """Find out that training cannot be before data are prepared for an hour.

    Raises
    ------
    SetupError
        E905 if accelerate is not installed.
    """
    require_packages("training", "train", "accelerate")


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
    require()
    from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
    from accelerate.utils import parse_flag_from_env

    apart = any(stage.part for stage in settings.stages)  # then a step leaves some weights alone
    wrapping = DistributedDataParallelKwargs(find_unused_parameters=apart)
    precision = settings.precision
    try:
        # What is made here first is what Accelerator finds, so `accelerate launch --cpu` must be heard here.
        state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        assert state.device  # there is one from here on
        precision = choose_precision(precision, state.device)
        made = Accelerator(mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=[wrapping])
    except ValueError as error:
        raise UsageError(f"precision {precision} is not to be had here ({error}); try fp32.") from None
    if precision == "fp16" and made.scaler is None:  # on a processor accelerate says nothing, and takes fp32
        raise UsageError("precision fp16 is not to be had here (it wants a GPU); try fp32 or bf16.")
    return made


def precise(accelerator: Any) -> str:
    """The precision that it computes in.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    """
    return "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision


def agreed(accelerator: Any, step: int) -> int:
    """The step that all processes begin at.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    step : that this process would begin at

    Raises
    ------
    UsageError
        If they do not agree: some see other checkpoints, or none.
    """
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise UsageError(f"the processes would begin at steps {steps}; give all machines one folder that they share.")
    return step


@contextmanager
def writing(name: str, remedy: str = "make space and go on with --resume") -> Iterator[None]:
    """A full disk is one line and exit code 6, not a bug.

    Parameters
    ----------
    name : of what is written
    remedy : what to do

    Raises
    ------
    SetupError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise SetupError(f"E703 {name} cannot be written ({error.strerror}); {remedy}.") from None


def spare(accelerator: Any) -> int:
    """Processes that can make samples while the network runs: the cores that it leaves to this process.

    None on a GPU, which makes a sample sooner than a core does. Where the network runs on the cores itself, a quarter
    of them: to make a sample takes a quarter of what a step takes.
    """
    if accelerator.device.type == "cuda":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    mine = cores // accelerator.num_processes
    return min(WORKERS, max(1, mine // 4 if accelerator.device.type == "cpu" else mine - 1))


def deaf(worker: int) -> None:
    """Ctrl-C, and the SIGTERM of a cluster, reach every process; only the one that trains should answer.

    It ends the others itself, by SIGTERM: the first one is not heard, the next one is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def ended(error: Exception) -> bool:
    """Whether an error says that a process that makes samples is no more; torch says it in words, a pipe just ends."""
    return isinstance(error, EOFError | ConnectionError) or str(error).startswith("DataLoader worker (pid")


def undeterred(work: Callable[[], None]) -> None:
    """Do it, and again if the loader tells in its midst that a process has ended: it tells once, whatever goes on."""
    try:
        work()
    except RuntimeError as error:
        if not ended(error):
            raise
        work()
