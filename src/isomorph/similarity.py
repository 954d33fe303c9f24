"""Structural similarity in 3-D: one map, for the loss and for the score, so that they cannot drift apart."""

from __future__ import annotations

import torch
from torch import Tensor

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
    """Gaussian mean of each window that lies wholly in the image.

    A sum and not a convolution, which a GPU rounds to the 10 bits of TF32: what is small in E[x^2] - E[x]^2 would be
    lost, and the map be anything.
    """
    kernel = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64) / SIGMA) ** 2)
    weights = (kernel / kernel.sum()).tolist()
    for axis in (-3, -2, -1):
        inner = x.shape[axis] - 2 * RADIUS
        windows = [x.narrow(axis, k, inner) for k in range(len(weights))]
        x = windows[0] * weights[0]
        for window, weight in zip(windows[1:], weights[1:], strict=True):
            x = x + window * weight
    return x
