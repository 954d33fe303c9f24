"""The network on one prepared image: where, how precisely, and both ways round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..device import computes_in_bf16
from ..errors import IsomorphError, SetupError
from ..io import Notice
from ..nets.slabs import FEWER, slab_values, thin_slabs
from ..space import mirror, sideways
from ..volume import Volume

log = logging.getLogger(__name__)

Progress = Callable[[float], None]  # share of the work that is done, 0 to 1
# How torch, CUDA and its libraries say it; "illegal memory access" is another thing.
EXHAUSTED = ("out of memory", "allocate memory", "alloc_failed", "not enough memory")


class Ran(NamedTuple):
    """What a network gave, and how that was computed in the end."""

    volume: Volume  # float32, on the processor
    device: torch.device
    precision: str


@torch.inference_mode()
def run(
    network: nn.Module,
    image: Volume,
    *,
    device: torch.device,
    precision: str,
    flip: bool = True,
    progress: Progress | None = None,
    warn: Callable[[Notice], object] = lambda notice: log.warning("%s %s", notice.code, notice.message),
) -> Ran:
    """Raw output of the network, averaged with that of the mirrored image if `flip`.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; stays on `device`.
    image : Volume, (C, I, J, K)
        As `prepare` gives it.
    device : torch.device
        Where to begin; should a GPU be too small, the processor takes over.
    precision : {"fp32", "bf16"}
        There; a processor that only imitates bf16 takes over in fp32.
    flip : bool
    progress : callable, optional
        Told the share of the work that is done.
    warn : callable
        Told when a GPU was too small.

    Returns
    -------
    Ran

    Raises
    ------
    SetupError
        If memory does not suffice.
    IsomorphError
        If the output is not finite.
    """
    ran = None
    for where, exact, values in _ways(device, precision):
        try:
            with full_precision(), thin_slabs(values):
                ran = Ran(_both(network, image, where, exact, flip, progress), where, exact)
            break
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if where.type != "cpu":
            warn(Notice("W801", f"out of memory on {where}; computed in thinner slabs, or on the processor"))
    if ran is None:
        size = " x ".join(map(str, image.shape))
        raise SetupError(
            f"E802 out of memory on {device} for {size} voxels; try --precision bf16, or crop to the head."
        )
    if progress:
        progress(1.0)
    if not ran.volume.data.isfinite().all():
        raise IsomorphError("E805 the network gave values that are not finite; try --precision fp32.")
    return ran


def _ways(device: torch.device, precision: str) -> list[tuple[torch.device, str, int]]:
    """Where to compute, how, in slabs of how many values: should a GPU be too small, thinner, then on the processor."""
    if device.type == "cpu":
        return [(device, precision, slab_values())]
    cpu = torch.device("cpu")
    there = precision if computes_in_bf16(cpu) else "fp32"
    return [(device, precision, slab_values()), (device, precision, FEWER), (cpu, there, slab_values())]


def _both(
    network: nn.Module, image: Volume, device: torch.device, precision: str, flip: bool, progress: Progress | None
) -> Volume:
    """One pass, or the mean of both ways round; of the whole network, unless it says which part of it needs both."""
    with torch.inference_mode(False):  # weights that are moved in it could never be trained again
        network = network.to(device, memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
    if flip and (at_once := getattr(network, "both_ways", None)):
        return _pass(partial(at_once, axis=sideways(image) + 2), image, device, precision)
    output = _pass(network, image, device, precision)
    if not flip:
        return output
    if progress:
        progress(0.5)
    other = mirror(_pass(network, mirror(image), device, precision))
    return output.with_data(other.data.add_(output.data).div_(2))


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory does not suffice; torch says it in words alone."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in EXHAUSTED)
    )


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep a GPU from rounding fp32 to the 10 bits of TF32, which it does unasked; puts back what was set."""
    settings: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting in settings:
            setting.allow_tf32 = False
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.allow_tf32 = value


def _pass(network: Callable[..., Tensor], image: Volume, device: torch.device, precision: str) -> Volume:
    x: Tensor = image.data[None].to(device).contiguous()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return image.with_data(network(x)[0].float().cpu().contiguous())
