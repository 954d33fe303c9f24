"""Which voxels of a resampled scan were measured, and which are interpolated between slices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from .grid import Shape

NOTHING = 1e-6  # voxels of the scan, across the whole grid: a rotation this small is none


def reliability(
    source: Shape, affine: np.ndarray, shape: Shape, grid: np.ndarray, device: torch.device | None = None
) -> Tensor:
    """How much of each voxel of a grid was measured [1]_: 1 on a slice, 0 between slices, fractions in passing.

    Each sample of the scan counts for the voxel that it lies in the middle of, and linearly less up to the next
    voxel; a direction in which the scan is as fine as the grid is measured throughout. The three directions multiply.

    Parameters
    ----------
    source, affine
        Of the scan as it was acquired, and registered where it had to be.
    shape, grid
        Shape and affine of the grid that it is resampled to.
    device : torch.device, optional

    Returns
    -------
    (I, J, K) tensor, 0 to 1

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """
    move = np.linalg.inv(affine) @ grid  # voxel of the grid -> voxel of the scan
    voxel = 1 / np.linalg.norm(np.linalg.inv(move[:3, :3]), axis=0)  # its size along each axis of the scan
    measured = torch.ones(1, 1, 1, device=device)
    for axis, n in enumerate(source):
        at = _line(move[axis], shape, device)
        gap = max(1.0, 1 / voxel[axis])  # between samples, in voxels of the grid
        below = at.floor()
        here = torch.zeros_like(at)
        for sample in (below, below + 1):
            there = (sample >= 0) & (sample < n)
            here += (1 - gap * (at - sample).abs()).clamp(min=0) * there
        measured = measured * here.clamp(max=1)
    return measured.expand(shape).contiguous()


def pooled(measured: Tensor, n: int) -> Tensor:
    """What a network at n mm is told of a map at 1 mm: the mean, times n, as of n voxels in a row one can be a slice.

    Not the map of a grid of n mm itself: voxels between 1 and n mm large in plane count for less than all of theirs.

    Parameters
    ----------
    measured : (..., C, I, J, K) tensor
        As `reliability` gives it for a grid of 1 mm.
    n : int

    Returns
    -------
    (..., C, I // n, J // n, K // n) tensor, 0 to 1
    """
    mean = avg_pool3d(measured.flatten(0, -4)[:, None], n)  # a network may have no maps at all
    return (n * mean).clamp(max=1).reshape(*measured.shape[:-3], *mean.shape[-3:])


def _line(row: np.ndarray, shape: Shape, device: torch.device | None) -> Tensor:
    """Position along one axis of the scan; only as many dimensions as it varies along."""
    at = torch.full((1, 1, 1), float(row[3]), device=device)
    for axis, n in enumerate(shape):
        if abs(row[axis]) * n > NOTHING:
            size = [1, 1, 1]
            size[axis] = n
            at = at + float(row[axis]) * torch.arange(n, dtype=torch.float32, device=device).reshape(size)
    nearest = at.round()
    return torch.where((at - nearest).abs() < 1e-4, nearest, at)  # a slice is not missed for a rounding error
