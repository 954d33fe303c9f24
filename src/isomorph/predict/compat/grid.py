"""Where SynthSR puts a scan before its network sees it, step for step, with what it does wrong.

The rules are those of the incumbents, not ours (`isomorph.space`): they decide about voxels that existing studies hold.
Everything is float64, as there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MULTIPLE = 32
TRUNCATE = 4.0  # sigmas: where a kernel ends
ANTIALIAS = 0.25  # voxels of the new grid

Window = tuple[tuple[int, int, int], tuple[int, int, int]]  # start, shape


def resample(x: Tensor, affine: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """To 1 mm along the axes of the scan, linear, edge voxels repeated beyond the outer centres.

    Kept for parity: axes of exactly 1 mm are smoothed (a little) while coarser ones are not, and the number of voxels
    comes from steps added up in floating point, so that a scan of 256 voxels of 1.0000001 mm becomes one of 257.

    Parameters
    ----------
    x : (I, J, K) float64 tensor
    affine : (4, 4) array
    """
    factor = np.sqrt(np.sum(affine * affine, axis=0))[:3]
    x = smooth(x, np.where(factor > 1, 0, ANTIALIAS / factor).tolist())
    step, first = 1.0 / factor, -(factor - 1) / (2 * factor)
    beyond = first + step * np.ceil(x.shape * factor)
    for axis in range(3):
        line = np.arange(first[axis], beyond[axis], step[axis])
        x = _sample(x, torch.from_numpy(line).clamp(0, x.shape[axis] - 1), axis)
    new = affine.copy()
    new[:3, :3] /= factor
    new[:3, 3] -= new[:3, :3] @ (0.5 * (factor - 1))
    return x, new


def smooth(x: Tensor, sigmas: list[float]) -> Tensor:
    """Gaussian, edges mirrored, the edge voxel repeated; a sigma of 0 leaves an axis alone.

    Parameters
    ----------
    x : (I, J, K) tensor
    sigmas : three voxels
    """
    for axis, sigma in enumerate(sigmas):
        if sigma <= 0:
            continue
        radius, n = int(TRUNCATE * sigma + 0.5), x.shape[axis]
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
        kernel /= kernel.sum()
        there = torch.arange(-radius, n + radius) % (2 * n)
        wide = x.index_select(axis, torch.where(there < n, there, 2 * n - 1 - there))
        x = torch.zeros_like(x)
        for shift, weight in enumerate(kernel.tolist()):
            x.add_(wide.narrow(axis, shift, n), alpha=weight)
    return x


def align(x: Tensor, affine: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Axes in the order right, anterior, superior: exchanged and turned round, never rotated.

    Parameters
    ----------
    x : (I, J, K) tensor
    affine : (4, 4) array
    """
    order = ras_axes(affine)
    x, new = x.permute(*order), affine.copy()
    new[:, :3] = affine[:, order]
    for axis in range(3):
        if new[axis, axis] < 0:
            new[:3, axis] *= -1
            new[:3, 3] -= new[:3, axis] * (x.shape[axis] - 1)
            x = x.flip(axis)
    return x, new


def align_back(x: Tensor, affine: np.ndarray) -> Tensor:
    """Undo `align`.

    Parameters
    ----------
    x : (I, J, K) tensor
        Aligned.
    affine : (4, 4) array
        That `align` was given.
    """
    order = ras_axes(affine)
    x = x.flip([axis for axis in range(3) if affine[axis, order[axis]] < 0])
    return x.permute(*np.argsort(order).tolist())


def ras_axes(affine: np.ndarray) -> list[int]:
    """Which axis of the array runs nearest to right, anterior and superior."""
    nearest = np.abs(np.linalg.inv(affine)[:3, :3]).argmax(axis=0)
    for axis in range(3):
        if axis not in nearest:  # two directions claim one axis: the later of them gives way
            twice = np.bincount(nearest, minlength=3).argmax()
            nearest[np.flatnonzero(nearest == twice)[-1]] = axis
    return nearest.tolist()


def pad(x: Tensor) -> tuple[Tensor, Window]:
    """Zeros around, to the next multiple of 32; and where the image now lies."""
    i, j, k = x.shape
    size = [-(-n // MULTIPLE) * MULTIPLE for n in x.shape]
    a, b, c = ((m - n) // 2 for m, n in zip(size, x.shape, strict=True))
    out = x.new_zeros(size)
    out[a : a + i, b : b + j, c : c + k] = x
    return out, ((a, b, c), (i, j, k))


def crop(x: Tensor, window: Window) -> Tensor:
    """Undo `pad`."""
    (a, b, c), (i, j, k) = window
    return x[a : a + i, b : b + j, c : c + k]


def _sample(x: Tensor, line: Tensor, axis: int) -> Tensor:
    """Linear interpolation at these places of one axis, all within it."""
    below = line.floor().long().clamp(max=max(x.shape[axis] - 2, 0))
    shape = [1, 1, 1]
    shape[axis] = -1
    share = (line - below).reshape(shape)
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    return x.index_select(axis, below) * (1 - share) + x.index_select(axis, above) * share
