"""Losses of a segmentation: logits against classes."""

from __future__ import annotations

from torch import Tensor

LEAST = 1e-6  # voxels: keeps an empty class from dividing by zero


def dice(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the soft Dice overlap, averaged over the classes that a sample holds [1]_.

    A class that is not in the sample has no overlap to speak of: its false voxels are missed by the others.

    Parameters
    ----------
    prediction : (N, classes, I, J, K) tensor
        Logits.
    target : (N, classes, I, J, K) tensor
        One at the class of a voxel, zero at the others.
    weight : (N, 1, I, J, K) tensor
        Zero where the class is not known.

    References
    ----------
    .. [1] Milletari et al., 3DV 2016, arXiv:1606.04797
    """
    share, space = prediction.softmax(1), (2, 3, 4)
    common = (weight * share * target).sum(space)
    size = (weight * target).sum(space)
    both = size + (weight * share).sum(space)
    present = (size > 0).to(share.dtype)
    lost = (1 - 2 * common / both.clamp(min=LEAST)) * present
    return (lost.sum(1) / present.sum(1).clamp(min=1)).mean()


def cross_entropy(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean surprise at the class of a voxel, in nats: punishes a confident mistake anywhere, where Dice may be flat.

    Parameters
    ----------
    prediction, target, weight
        As for `dice`.

    References
    ----------
    .. [1] Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z
    """
    return -(prediction.log_softmax(1) * target * weight).sum(1).mean()
