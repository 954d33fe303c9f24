"""Differences, voxel by voxel and between neighbours."""

from __future__ import annotations

from torch import Tensor


def l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference, white matter = 1, doi:10.1016/j.neuroimage.2021.118206.

    Parameters
    ----------
    prediction, target, weight : (N, C, I, J, K) tensors
    """
    return ((prediction - target).abs() * weight).mean()


def l2(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference, white matter = 1: leaves the plateau of a half-way grey sooner than l1.

    Parameters
    ----------
    prediction, target, weight : (N, C, I, J, K) tensors
    """
    return ((prediction - target).square() * weight).mean()


def gradient(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the differences between neighbours: asks for edges as sharp as the target's.

    Parameters
    ----------
    prediction, target, weight : (N, C, I, J, K) tensors

    References
    ----------
    .. [1] Mathieu et al., ICLR 2016, arXiv:1511.05440
    """
    error, total = prediction - target, prediction.new_zeros(())
    for axis in (2, 3, 4):
        n = error.shape[axis] - 1
        total = total + (error.diff(dim=axis).abs() * weight.narrow(axis, 0, n)).mean()
    return total
