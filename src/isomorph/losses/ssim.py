"""Structural similarity as a loss."""

from __future__ import annotations

from torch import Tensor

from ..similarity import RADIUS, ssim_map


def ssim(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the structural similarity in 3-D, white matter = 1: asks for the pattern of each 11-voxel window.

    Windows that reach over the border of the patch are left out.

    Parameters
    ----------
    prediction, target, weight : (N, 1, I, J, K) tensors
        At least 11 voxels along each axis.

    References
    ----------
    .. [1] Wang et al., IEEE Transactions on Image Processing 2004, doi:10.1109/TIP.2003.819861
    """
    inner = (..., *(slice(RADIUS, -RADIUS),) * 3)
    return ((1 - ssim_map(prediction, target, data_range=1.0)) * weight[inner]).mean()
