"""Smooth noise, the stuff of irregular borders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

from ..profile import smooth
from .step import randn

NODES = 2.5  # noise nodes per length
SMOOTHING = 1.0  # nodes


def texture(seed: int, shape: Sequence[int], spacing: Sequence[float], length: float, *, like: Tensor) -> Tensor:
    """(I, J, K) noise of unit standard deviation.

    Parameters
    ----------
    seed : int
    shape : voxels
    spacing : mm, of the voxels
    length : mm
        Over which it changes.
    like : Tensor
        On the device wanted.
    """
    nodes = [max(3, min(n, round(n * mm / length * NODES) + 1)) for n, mm in zip(shape, spacing, strict=True)]
    values = randn(seed, 1, *nodes, like=like)
    for axis in range(3):
        values = smooth(values, SMOOTHING, axis)
    values = values / values.std().clamp(min=1e-6)
    return interpolate(values[None], list(shape), mode="trilinear", align_corners=True)[0, 0]
