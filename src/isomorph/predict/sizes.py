"""How large structures are, and which of them the field of view cuts off."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..io import Notice
from ..labels import LABELS, LIMIT
from ..volume import Volume
from .cranium import intracranial

VENTRICLES = (4, 14, 15)  # in the skull, and no brain
CONTACT = 10  # voxels of a structure at the border of the field of view, from which on it is cut off


def sizes(
    soft: Volume, right: Tensor, left_numbers: list[int], right_numbers: list[int]
) -> tuple[dict[str, float], float, float]:
    """mm3 of each structure by its name, of all that is brain, and of what the skull holds.

    Parameters
    ----------
    soft : Volume, (C, I, J, K)
        How much of each voxel belongs to each class.
    right : (I, J, K) tensor of bool
    left_numbers, right_numbers : list of int
        Of each class on either side; the same where it has none.
    """
    voxel = abs(float(np.linalg.det(soft.affine[:3, :3])))
    volumes: dict[str, float] = {}
    brain = fluid = 0.0
    for k, (left, other) in enumerate(zip(left_numbers, right_numbers, strict=True)):
        if not left:
            continue
        share = soft.data[k].float()
        whole = float(share.sum()) * voxel
        volumes[LABELS[left].name] = whole
        if other != left:
            there = min(float(share[right].sum()) * voxel, whole)  # sums round: no volume is negative
            volumes |= {LABELS[left].name: whole - there, LABELS[other].name: there}
        if left in VENTRICLES:
            fluid += whole
        else:
            brain += whole
    inside = intracranial(1 - soft.data[left_numbers.index(0)].float(), fluid, voxel)
    return {name: round(value, 1) for name, value in volumes.items()}, round(brain, 1), round(inside, 1)


def border(seen: Tensor) -> Tensor:
    """Voxels that are seen, with a neighbour that is not, or beyond the grid.

    Parameters
    ----------
    seen : (I, J, K) tensor of bool
    """
    inner = seen.clone()
    for axis, n in enumerate(seen.shape):
        inner.narrow(axis, 0, n - 1).logical_and_(seen.narrow(axis, 1, n - 1))
        inner.narrow(axis, 1, n - 1).logical_and_(seen.narrow(axis, 0, n - 1))
        inner.narrow(axis, 0, 1).fill_(False)
        inner.narrow(axis, n - 1, 1).fill_(False)
    return seen & ~inner


def cut_off(labels: Tensor, edge: Tensor) -> tuple[tuple[str, ...], tuple[Notice, ...]]:
    """Names of the structures that end at the border of what was seen, and what is said of them.

    Parameters
    ----------
    labels : (I, J, K) tensor of integers
    edge : (I, J, K) tensor of bool
    """
    counts = torch.bincount(labels[edge].long(), minlength=LIMIT)
    cut = tuple(label.name for number, label in LABELS.items() if number and counts[number] >= CONTACT)
    if not cut:
        return (), ()
    said = ", ".join(cut[:3]) + (f" and {len(cut) - 3} more" if len(cut) > 3 else "")
    return cut, (Notice("W603", f"the field of view ends within {said}: their volumes are too small"),)
