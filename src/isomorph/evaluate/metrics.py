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
    TypeError
        If one of them is no tensor, such as a Volume.
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
    TypeError
        If one of them is no tensor, such as a Volume.
    ValueError
        If shapes differ, the mask is empty or `data_range` is not positive.
    """
    a, b = _inside(prediction, reference, mask)
    peak, error = _positive(data_range), (a - b).square().mean().item()
    return 10 * math.log10(peak**2 / error) if error else math.inf


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
    TypeError
        If one of them is no tensor, such as a Volume.
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
    TypeError
        If one of them is no tensor, such as a Volume.
    ValueError
        If shapes differ, the image or the mask is too small or `data_range` is not positive.

    References
    ----------
    .. [1] Wang et al., IEEE Transactions on Image Processing 2004, doi:10.1109/TIP.2003.819861
    """
    _refuse_others(prediction, reference, mask)
    if min(reference.shape) <= 2 * RADIUS:
        raise ValueError(f"SSIM needs {2 * RADIUS + 1} voxels along each axis, the image has {tuple(reference.shape)}.")
    whole = torch.ones_like(reference, dtype=torch.bool) if mask is None else mask.bool()
    inner = (slice(RADIUS, -RADIUS),) * 3
    a, b = prediction.double()[None, None], reference.double()[None, None]
    counted = ssim_map(a, b, _positive(data_range))[0, 0][whole[inner]]
    if counted.numel() == 0:
        raise ValueError("The mask has no voxel whose window lies in the image.")
    return counted.mean().item()


METRICS: dict[str, Callable[..., float]] = {"mae": mae, "psnr": psnr, "ssim": ssim, "ncc": ncc}


def _inside(prediction: Tensor, reference: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The voxels that count, in double precision."""
    _refuse_others(prediction, reference, mask)
    a, b = prediction.double(), reference.double()
    return (a, b) if mask is None else (a[mask.bool()], b[mask.bool()])


def _refuse_others(prediction: Tensor, reference: Tensor, mask: Tensor | None) -> None:
    """Only tensors on one grid, of which some voxel counts, can be compared."""
    given = {"prediction": prediction, "reference": reference} | ({} if mask is None else {"mask": mask})
    for name, x in given.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"The {name} is a {type(x).__name__}, not a tensor; of a Volume give `volume.data[0]`.")
    shapes = {tuple(x.shape) for x in given.values()}
    if len(shapes) > 1 or reference.ndim != 3:
        raise ValueError(f"Images and mask must be (I, J, K) on one grid, got {sorted(shapes)}; resample one first.")
    if mask is not None and not mask.any():
        raise ValueError("The mask is empty.")


def _positive(data_range: float) -> float:
    if not 0 < data_range < math.inf:
        raise ValueError(f"data_range is {data_range}; give the distance between the lowest and the highest value.")
    return float(data_range)
