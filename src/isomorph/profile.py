"""Smoothing and sampling along one axis, shared by the generator and by resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
NARROW = 0.05  # voxels: a Gaussian that no kernel can show


def smooth(x: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian smoothing of (C, I, J, K) along one axis, edges replicated.

    Parameters
    ----------
    x : (C, I, J, K) tensor
    sigma : voxels
    axis : int
        0, 1 or 2 for I, J or K.
    """
    return x if sigma <= NARROW else apply(x, weights(x.shape[axis + 1], sigma), axis)


def sample(x: Tensor, positions: Tensor, axis: int) -> Tensor:
    """Linear interpolation of (C, I, J, K) at fractional indices along one axis, clamped to the first and last."""
    positions = positions.clamp(0, x.shape[axis + 1] - 1)
    lower = positions.floor().long()
    upper = (lower + 1).clamp(max=x.shape[axis + 1] - 1)
    shape = [1, 1, 1, 1]
    shape[axis + 1] = -1
    weight = (positions - lower).to(x.dtype).reshape(shape)
    return torch.lerp(x.index_select(axis + 1, lower), x.index_select(axis + 1, upper), weight)


def stretch(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Linear interpolation of (C, I, J, K) onto a grid of another size, corner voxel onto corner voxel."""
    for axis, n in enumerate(shape):
        line = torch.linspace(0, x.shape[axis + 1] - 1, n, dtype=torch.float64)
        x = apply(x, weights(x.shape[axis + 1], 0.0, line), axis)
    return x


def weights(n: int, sigma: float, positions: Tensor | None = None) -> Tensor:
    """Smoothing N samples, then interpolating at M positions, as one matrix.

    A product with it is many times faster than either operation done by itself.

    Parameters
    ----------
    n : int
    sigma : voxels
    positions : (M,) tensor, optional
        Fractional indices, clamped to the first and last; all N if not given.

    Returns
    -------
    (M, N) float64 tensor
    """
    matrix = torch.eye(n, dtype=torch.float64)
    if sigma > NARROW:
        radius = math.ceil(3 * sigma)
        taps = torch.arange(-radius, radius + 1)
        kernel = torch.exp(-0.5 * (taps.double() / sigma) ** 2)
        columns = (torch.arange(n)[:, None] + taps).clamp(0, n - 1)  # edges replicated
        matrix = torch.zeros_like(matrix).scatter_add_(1, columns, (kernel / kernel.sum()).expand(n, -1))
    if positions is not None:
        nearest = positions.round()
        positions = torch.where((positions - nearest).abs() < 1e-5, nearest, positions)  # no blur from rounding errors
        matrix = sample(matrix[None, :, :, None], positions.to(matrix), 0)[0, :, :, 0]
    return matrix


def apply(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply one axis of (C, I, J, K) by an (M, N) matrix."""
    if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype)):
        return x
    matrix = matrix.to(x)
    if axis == 0:  # one large product, where torch would make many small ones
        return (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])
    return matrix @ x if axis == 1 else x @ matrix.T
