"""How alike are two images? Functions ``(prediction, reference, *, mask, data_range) -> float``; no range guessed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..similarity import RADIUS, ssim_map


def mae(prediction: Tensor, reference: Tensor, *, mask: Tensor | None = None, data_range: float | None = None) -> float:
    """Mean absolute error, in the unit of the images; 0 is perfect.

    Parameters
    ----------
    prediction, reference : (I, J, K) tensors
    mask : (I, J, K) tensor of bool, optional
        Voxels that count; all if not given.
    data_range : float, optional
        Not used.

    Raises
    ------
    ValueError
        If shapes differ or the mask is empty.
    """
    a, b = _inside(prediction, reference, mask)
    return (a - b).abs().mean().item()


def psnr(prediction: Tensor, reference: Tensor, *, mask: Tensor | None = None, data_range: float) -> float:
    """Peak signal to noise ratio, in dB; infinite is perfect.

    Parameters
    ----------
    prediction, reference : (I, J, K) tensors
    mask : (I, J, K) tensor of bool, optional
        Voxels that count; all if not given.
    data_range : float
        Distance between the lowest and the highest value that is possible, such as 110 for white matter at 110.

    Raises
    ------
    ValueError
        If shapes differ, the mask is empty or `data_range` is not positive.
    """
    a, b = _inside(prediction, reference, mask)
    error = (a - b).square().mean().item()
    return 10 * math.log10(_positive(data_range) ** 2 / error) if error else math.inf


def ncc(prediction: Tensor, reference: Tensor, *, mask: Tensor | None = None, data_range: float | None = None) -> float:
    """Normalised cross-correlation (Pearson), -1 to 1; 1 is perfect; blind to gain and offset.

    Parameters
    ----------
    prediction, reference : (I, J, K) tensors
    mask : (I, J, K) tensor of bool, optional
        Voxels that count; all if not given.
    data_range : float, optional
        Not used.

    Returns
    -------
    float
        NaN if one of the two is constant.

    Raises
    ------
    ValueError
        If shapes differ or the mask is empty.
    """
    a, b = _inside(prediction, reference, mask)
    a, b = a - a.mean(), b - b.mean()
    scale = (a.square().sum() * b.square().sum()).sqrt().item()
    return (a * b).sum().item() / scale if scale else math.nan


def ssim(prediction: Tensor, reference: Tensor, *, mask: Tensor | None = None, data_range: float) -> float:
    """Structural similarity in 3-D, at most 1; 1 is perfect [1]_.

    The map is computed with a Gaussian window (sigma 1.5, 11 voxels wide) and averaged over the mask; windows reach
    over the border of the mask, and those that reach over the border of the image are left out.

    Parameters
    ----------
    prediction, reference : (I, J, K) tensors
        At least 11 voxels along each axis.
    mask : (I, J, K) tensor of bool, optional
        Voxels that count; all if not given.
    data_range : float
        Distance between the lowest and the highest value that is possible.

    Raises
    ------
    ValueError
        If shapes differ, the image or the mask is too small or `data_range` is not positive.

    References
    ----------
    .. [1] Wang et al., IEEE Transactions on Image Processing 2004, doi:10.1109/TIP.2003.819861
    """
    if min(reference.shape) <= 2 * RADIUS:
        raise ValueError(f"SSIM needs {2 * RADIUS + 1} voxels along each axis, the image has {tuple(reference.shape)}.")
    whole = torch.ones_like(reference, dtype=torch.bool) if mask is None else mask.bool()
    inner = (slice(RADIUS, -RADIUS),) * 3
    _inside(prediction, reference, whole)
    a, b = prediction.double()[None, None], reference.double()[None, None]
    counted = ssim_map(a, b, _positive(data_range))[0, 0][whole[inner]]
    if counted.numel() == 0:
        raise ValueError("The mask has no voxel whose window lies in the image.")
    return counted.mean().item()


METRICS: dict[str, Callable[..., float]] = {"mae": mae, "psnr": psnr, "ssim": ssim, "ncc": ncc}


def _inside(prediction: Tensor, reference: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The voxels that count, in double precision."""
    shapes = {tuple(x.shape) for x in (prediction, reference, mask) if x is not None}
    if len(shapes) > 1 or reference.ndim != 3:
        raise ValueError(f"Images and mask must be (I, J, K) on one grid, got {sorted(shapes)}; resample one first.")
    a, b = prediction.double(), reference.double()
    if mask is None:
        return a, b
    if not mask.any():
        raise ValueError("The mask is empty.")
    return a[mask.bool()], b[mask.bool()]


def _positive(data_range: float) -> float:
    if not data_range > 0:
        raise ValueError(f"data_range is {data_range}; give the distance between the lowest and the highest value.")
    return float(data_range)
