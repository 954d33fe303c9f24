"""Losses of a segmentation: logits against the number of a class.

A few planes at a time: a number for each class and voxel is much memory, and new memory takes longer than the sums.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

LEAST = 1e-6  # voxels: keeps an empty class from dividing by zero
SLAB = 40_000  # voxels: with the classes of a brain what is temporary stays in the cache


def dice(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the soft Dice overlap, averaged over the classes that a sample holds [1]_.

    A class that is not in the sample has no overlap to speak of: its false voxels are missed by the others.

    Parameters
    ----------
    prediction : (N, classes, I, J, K) tensor
        Logits.
    target : (N, 1, I, J, K) tensor of int64
        Number of the class of a voxel.
    weight : (N, 1, I, J, K) tensor
        Zero where the class is not known.

    References
    ----------
    .. [1] Milletari et al., 3DV 2016, arXiv:1606.04797
    """
    classes = prediction.shape[1]
    common, claimed, size = prediction.new_zeros(3, len(prediction), classes)
    for logits, number, known in _slabs(prediction, target, weight):
        share = logits.softmax(1)
        common = common + _per_class(share.gather(1, number) * known, number, classes)
        claimed = claimed + (share * known).sum((2, 3, 4))
        size = size + _per_class(known, number, classes)
    return _over_present(1 - 2 * common / (size + claimed).clamp(min=LEAST), size)


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
    parts = [(x.log_softmax(1).gather(1, n) * known).sum() for x, n, known in _slabs(prediction, target, weight)]
    return -torch.stack(parts).sum() / target.numel()


def balanced(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean surprise at each class, averaged over the classes that a sample holds, in nats [1]_.

    Where a class is a voxel in a hundred, `cross_entropy` is content with a network that never names it, and `dice`
    is flat there; here it counts as much as all the others.

    Parameters
    ----------
    prediction, target, weight
        As for `dice`.

    References
    ----------
    .. [1] King and Zeng, Political Analysis 2001, doi:10.1093/oxfordjournals.pan.a004868
    """
    classes = prediction.shape[1]
    lost, size = prediction.new_zeros(2, len(prediction), classes)
    for logits, number, known in _slabs(prediction, target, weight):
        lost = lost - _per_class(logits.log_softmax(1).gather(1, number) * known, number, classes)
        size = size + _per_class(known, number, classes)
    return _over_present(lost / size.clamp(min=LEAST), size)


def _slabs(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few planes of each."""
    planes = max(1, SLAB // images[0][0, 0, 0].numel())
    return zip(*(x.split(planes, 2) for x in images), strict=True)


def _over_present(lost: Tensor, size: Tensor) -> Tensor:
    """Mean over the classes that a sample holds, then over samples; both (N, classes), `size` in voxels."""
    present = (size > 0).to(size.dtype)
    return ((lost * present).sum(1) / present.sum(1).clamp(min=1)).mean()


def _per_class(values: Tensor, number: Tensor, classes: int) -> Tensor:
    """Sum over the voxels of each class, (N, classes); row by row first: one long sum in float32 would round."""
    rows = values.new_zeros(*number.shape[:-1], classes)
    return rows.scatter_add(-1, number, values).sum((1, 2, 3))
