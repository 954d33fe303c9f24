"""Smoothing and sampling along one axis, shared by the generator and by resampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv3d

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))


def smooth(x: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian smoothing of (C, I, J, K) along one axis, edges replicated.

    Parameters
    ----------
    x : (C, I, J, K) tensor
    sigma : voxels
    axis : int
        0, 1 or 2 for I, J or K.
    """
    if sigma <= 0.05:  # narrower than any kernel can show
        return x
    radius = math.ceil(3 * sigma)
    taps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    shape = [1, 1, 1, 1, 1]
    shape[axis + 2] = -1
    n = x.shape[axis + 1]
    index = torch.arange(-radius, n + radius, device=x.device).clamp(0, n - 1)
    return conv3d(x.index_select(axis + 1, index)[:, None], (kernel / kernel.sum()).reshape(shape))[:, 0]


def sample(x: Tensor, positions: Tensor, axis: int) -> Tensor:
    """Linear interpolation of (C, I, J, K) at fractional indices along one axis, clamped to the first and last."""
    positions = positions.clamp(0, x.shape[axis + 1] - 1)
    lower = positions.floor().long()
    upper = (lower + 1).clamp(max=x.shape[axis + 1] - 1)
    shape = [1, 1, 1, 1]
    shape[axis + 1] = -1
    weight = (positions - lower).to(x.dtype).reshape(shape)
    return torch.lerp(x.index_select(axis + 1, lower), x.index_select(axis + 1, upper), weight)
