"""A large volume a few planes at a time: what is temporary stays in the cache, and in memory that is used again.

While a network is trained, volumes are small and each step is kept for the gradient: there, all planes are one slab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

VALUES = 2**21  # of what is temporary in one slab: blocks above 32 MB go back to the system each time, and are cleared
FEWER = 2**18  # where memory is scarce; slower

_values: ContextVar[int] = ContextVar("values", default=VALUES)


def slab_values() -> int:
    """Temporary values in one slab, as it is set now."""
    return _values.get()


@contextmanager
def thin_slabs(values: int) -> Iterator[None]:
    """Compute in thinner slabs than memory and cache would like best; the result is the same."""
    before = _values.set(values)
    try:
        yield
    finally:
        _values.reset(before)


def whole() -> bool:
    """Whether all planes are one slab: where each step is kept for the gradient."""
    return torch.is_grad_enabled()


def slabs(x: Tensor, values: int = 0) -> Iterator[slice]:
    """Cut the first axis in space.

    Parameters
    ----------
    x : (N, C, I, J, K) tensor
    values : int
        Temporary ones for each plane; those of `x` if not given.

    Returns
    -------
    iterator of slice
    """
    planes = x.shape[2]
    step = planes if whole() else max(1, _values.get() // (values or x[:, :, 0].numel()))
    return (slice(start, min(start + step, planes)) for start in range(0, planes, step))


def with_halo(function: Callable[..., Tensor], *sources: Tensor, channels: int, halo: int = 1) -> Tensor:
    """What a function of neighbourhoods gives, computed slab by slab; exactly, for what is wrong is cut off.

    Parameters
    ----------
    function : callable
        Gets some planes of each source, and gives an image of the same extent. At the ends of a slab it may be wrong,
        up to `halo` planes of the first source deep.
    sources : (N, C, I, J, K) tensors
        Of one extent, on grids of which the first is the coarsest and divides the others.
    channels : int
        Of the widest temporary, on the grid of the last source.
    halo : int
        Planes of the first source.
    """
    planes = sources[0].shape[2]
    plane = channels * sources[-1][:, 0].numel() // planes  # values for each plane of the first source
    step = planes if whole() else max(4 * halo, 8 * _values.get() // plane - 2 * halo, 2) // 2 * 2  # pools stay whole
    if step >= planes:
        return function(*sources)
    result = None
    for start in range(0, planes, step):
        stop = min(start + step, planes)
        low, high = max(start - halo, 0), min(stop + halo, planes)
        part = function(*(cut(x, low, high, planes) for x in sources))
        fine = part.shape[2] / (high - low)  # planes of the result for each of the first source
        first, last = int(start * fine), int(stop * fine)
        if result is None:
            result = part.new_empty(*part.shape[:2], int(planes * fine), *part.shape[3:])
        result[:, :, first:last] = part[:, :, first - int(low * fine) :][:, :, : last - first]
    assert result is not None
    return result


def cut(x: Tensor, low: int, high: int, planes: int) -> Tensor:
    """From one plane to another, counted on a grid of so many."""
    n = x.shape[2] // planes
    return x[:, :, low * n : high * n]
