"""Interpolation onto another grid, through the whole of both affines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..profile import FWHM_PER_SIGMA, apply, smooth, weights
from ..volume import Volume
from .grid import Shape

STRAIGHT = 0.01  # mm: a rotation that moves no voxel further than this is none
EDGE = 1e-3  # voxels: a centre this far outside the field of view is on its edge
SLAB = 2_000_000  # voxels interpolated at a time where the grids are rotated


def resample(
    volume: Volume, shape: Shape, affine: np.ndarray, mode: str = "linear", fill: float | None = 0.0
) -> Volume:
    """Interpolate onto another grid, through the whole of both affines.

    Along each axis on which the scan is finer than the new grid it is first smoothed to the new voxel size, so that
    nothing aliases; along coarser axes it is not.

    Parameters
    ----------
    volume : Volume
        Finite.
    shape, affine
        Of the new grid.
    mode : {"linear", "nearest"}
        ``"nearest"`` for labels: never smoothed, and the type of the data is kept.
    fill : float or None
        Value outside the field of view; None extends the edge.

    Returns
    -------
    Volume
        float32 if linear.

    Raises
    ------
    ValueError
        If `mode` is neither.
    """
    if mode not in ("linear", "nearest"):
        raise ValueError(f"Interpolation mode is {mode!r}; choose 'linear' or 'nearest'.")
    move = np.linalg.inv(volume.affine) @ affine  # voxel of the new grid -> voxel of the scan
    data = volume.data if mode == "nearest" else volume.data.float()
    sigmas = [0.0, 0.0, 0.0] if mode == "nearest" else _sigmas(move)
    axes = _straight(move, volume.affine, shape)
    if axes is None:
        return Volume(_interpolate(_smooth(data, sigmas), move, shape, mode, fill), affine)
    return Volume(_separable(data, _lines(move, shape, axes), axes, sigmas, mode, fill), affine)


def field_of_view(volume: Volume, shape: Shape, affine: np.ndarray) -> Tensor:
    """Which voxels of a grid lie in the field of view of a scan.

    Parameters
    ----------
    volume : Volume
    shape, affine
        Of the grid.

    Returns
    -------
    (I, J, K) tensor of bool
    """
    ones = volume.data.new_ones(1, dtype=torch.float32).expand(1, *volume.shape)
    return resample(volume.with_data(ones), shape, affine, mode="nearest").data[0] > 0


def _sigmas(move: np.ndarray) -> list[float]:
    """Width of the anti-alias filter along each axis of the scan, in its voxels."""
    steps = 1 / np.linalg.norm(np.linalg.inv(move[:3, :3]), axis=0)  # size of a new voxel, in voxels of the scan
    return (np.sqrt(np.maximum(steps**2 - 1, 0)) / FWHM_PER_SIGMA).tolist()


def _straight(move: np.ndarray, affine: np.ndarray, shape: Shape) -> list[int] | None:
    """New axis that runs along each axis of the scan, or None if the grids are rotated against each other."""
    axes = np.abs(move[:3, :3]).argmax(axis=1).tolist()
    if sorted(axes) != [0, 1, 2]:
        return None
    rest = move[:3, :3].copy()
    rest[range(3), axes] = 0
    drift = np.linalg.norm(affine[:3, :3] @ rest, axis=0) @ np.array(shape) / 2
    return axes if drift < STRAIGHT else None


def _lines(move: np.ndarray, shape: Shape, axes: list[int]) -> list[Tensor]:
    """Positions of the new centres along each axis of the scan, in its voxels."""
    centre = (np.array(shape) - 1) / 2  # what little rotation there is vanishes in the middle
    middle = move[:3, :3] @ centre + move[:3, 3]
    return [
        torch.from_numpy(middle[axis] + move[axis, new] * (np.arange(shape[new]) - centre[new]))
        for axis, new in enumerate(axes)
    ]


def _separable(
    data: Tensor, lines: list[Tensor], axes: list[int], sigmas: list[float], mode: str, fill: float | None
) -> Tensor:
    """One axis after the other; those that shrink come first."""
    old = data.shape[1:]
    for axis in sorted(range(3), key=lambda axis: len(lines[axis]) / old[axis]):
        if mode == "nearest":
            index = (lines[axis] + 0.5 + EDGE).floor().long().clamp(0, old[axis] - 1)
            data = data.index_select(axis + 1, index.to(data.device))
        else:
            data = apply(data, weights(old[axis], sigmas[axis], lines[axis]), axis)
    order = [axes.index(new) for new in range(3)]
    data = data.permute(0, *(axis + 1 for axis in order)).contiguous()
    if fill is None:
        return data
    for new, axis in enumerate(order):
        outside = (lines[axis] < -0.5 - EDGE) | (lines[axis] > old[axis] - 0.5 + EDGE)
        if outside.any():
            data = data.index_fill(new + 1, outside.nonzero()[:, 0].to(data.device), fill)
    return data


def _smooth(data: Tensor, sigmas: list[float]) -> Tensor:
    for axis, sigma in enumerate(sigmas):
        data = smooth(data, sigma, axis)
    return data


def _interpolate(data: Tensor, move: np.ndarray, shape: Shape, mode: str, fill: float | None) -> Tensor:
    """Interpolate between grids rotated against each other, some planes at a time."""
    out = data.new_empty((data.shape[0], *shape))
    planes = max(1, SLAB // (shape[1] * shape[2]))
    there = data.device if data.device.type != "mps" else torch.device("cpu")  # which has no float64
    j, k = (torch.arange(n, dtype=torch.float64, device=there) for n in shape[1:])
    size = data.shape[1:]
    for first in range(0, shape[0], planes):
        last = min(first + planes, shape[0])
        i = torch.arange(first, last, dtype=torch.float64, device=there)[:, None, None]
        at = [float(r[0]) * i + float(r[1]) * j[:, None] + float(r[2]) * k + float(r[3]) for r in move[:3]]
        grid = torch.stack([((2 * p + 1) / n - 1).float() for p, n in zip(at[::-1], size[::-1], strict=True)], -1)
        slab = grid_sample(
            data[None].float(),
            grid[None].to(data.device),
            mode="bilinear" if mode == "linear" else "nearest",
            padding_mode="border",
            align_corners=False,
        )[0]
        if fill is not None:
            outside = [(p < -0.5 - EDGE) | (p > n - 0.5 + EDGE) for p, n in zip(at, size, strict=True)]
            slab = slab.masked_fill(torch.stack(outside).any(0).to(data.device), fill)
        out[:, first:last] = slab.to(data.dtype)
    return out
