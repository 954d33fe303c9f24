"""What a segmentation network tells apart: unless its recipe says otherwise, the structures of a brain, sides as one.

Sides are merged because a patch seldom shows which one it is, and because a loss asks where a structure ends, not on
which side it lies. What has no class of its own joins the one it lies in (choroid plexus: the ventricle, a lesion:
white matter); fluid around the brain and everything beyond it are background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .labels import CLUSTER, LABELS, LESION, LIMIT, swap_sides

STRUCTURES = (0, 2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28)  # numbers of `isomorph.labels`
JOINED = {5: 4, 31: 4, 136: 4, 137: 4, 72: 14, 25: 2, LESION: 2}
# Undetermined, vessels, the chiasm, and what maps call lesion, which may be a seam of each ventricle: some raters count
# them to another class.
UNKNOWN = {29: 2, 30: 2, 85: 28, 25: LESION}
NOWHERE = -1  # the class of a voxel that no loss should look at


def class_table(classes: Sequence[int]) -> Tensor:
    """The class of each label, as a (LIMIT,) table of indices into `classes`; `NOWHERE` where it cannot be told.

    Parameters
    ----------
    classes : numbers of `isomorph.labels`
        Left numbers stand for both sides. Number 0 takes whatever has no other.
    """
    table = torch.full((LIMIT,), NOWHERE)
    opposite = swap_sides(torch.arange(LIMIT)).tolist()
    index = {number: k for k, number in enumerate(classes)}
    for number, label in LABELS.items():
        left = opposite[number] if label.side == "right" else number
        if left in index or UNKNOWN.get(left) not in index:
            while left not in index and left in JOINED:
                left = JOINED[left]
            table[number] = index.get(left, index.get(0, NOWHERE))
    return table


def class_map(labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A label map as a segmentation loss wants it.

    Parameters
    ----------
    labels : (N, 1, I, J, K) tensor of integers
    classes : as for `class_table`

    Returns
    -------
    number : (N, 1, I, J, K) tensor of int64
        Which of `classes` a voxel belongs to, counted from 0; 0 also where that cannot be told.
    known : (N, 1, I, J, K) float tensor
        Zero where the class cannot be told, such as in a head that was cut into levels of brightness. Such a head is
        not known at all: its background may be brain.
    """
    number = class_table(classes).to(labels.device)[labels.long()]
    known = (number != NOWHERE).float() * anatomical(labels)
    return number.clamp(min=0), known


def anatomical(labels: Tensor) -> Tensor:
    """Whether a map names structures, rather than levels of brightness: (N, 1, 1, 1, 1), or a single number.

    Parameters
    ----------
    labels : (N, 1, I, J, K) or (1, I, J, K) tensor
    """
    levels = (labels >= CLUSTER).flatten(labels.ndim - 4).any(-1)
    return (~levels).float().reshape(*levels.shape, *[1] * (labels.ndim - levels.ndim))
