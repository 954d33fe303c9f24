"""Structural similarity in 3-D: one map, for the loss and for the score, so that they cannot drift apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv3d

K1, K2 = 0.01, 0.03  # constants of SSIM, as in its paper
SIGMA, RADIUS = 1.5, 5  # voxels: the 11-wide Gaussian window of the paper


def ssim_map(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    """Similarity of each window that lies wholly in the image [1]_.

    Parameters
    ----------
    a, b : (N, 1, I, J, K) tensors
        At least `2 * RADIUS + 1` voxels along each axis.
    data_range : float
        Distance between the lowest and the highest value that is possible.

    Returns
    -------
    (N, 1, I - 2 RADIUS, J - 2 RADIUS, K - 2 RADIUS) tensor
        At most 1, exactly 1 where the windows are alike.

    References
    ----------
    .. [1] Wang et al., IEEE Transactions on Image Processing 2004, doi:10.1109/TIP.2003.819861
    """
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a * mean_a, _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    brightness = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    return brightness * ((2 * covariance + c2) / (var_a + var_b + c2))


def _blur(x: Tensor) -> Tensor:
    """Gaussian mean of each window that lies wholly in the image."""
    taps = torch.arange(-RADIUS, RADIUS + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (taps / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    for shape in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)):
        x = conv3d(x, kernel.reshape(1, 1, *shape))
    return x
