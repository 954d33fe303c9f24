"""A structure that has shrunk, in a label map: disease whose size is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..labels import FLUID_OUTSIDE
from ..profile import smooth
from ..volume import Volume

HIPPOCAMPUS = {17: 5, 53: 44}  # each becomes, where it is lost, the inferior horn of the ventricle on its side
FLUID = (4, 5, 14, 15, 43, 44, FLUID_OUTSIDE)
REACH = 1.5  # mm: how smooth the surface of what is left is
MARGIN = 8  # voxels around the structure


def shrunken(x: Volume, share: float, *, structures: Mapping[int, int] = HIPPOCAMPUS) -> Volume:
    """A label map whose structures have lost a share of their volume at their surface, first where they meet fluid.

    Parameters
    ----------
    x : Volume, (1, I, J, K)
        Label map, numbers of `isomorph.labels`.
    share : 0 to 1
        Of the voxels of each structure that are lost.
    structures : mapping, optional
        Number of each structure, and of what takes its place; the hippocampi and the ventricle beside them.

    Returns
    -------
    Volume
        A new map; every structure has ``round(n * (1 - share))`` of its n voxels left.

    Raises
    ------
    ValueError
        If the share is none, or a structure is missing.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}; give what is lost of a structure, from 0 to below 1.")
    data = x.data.clone()
    for number, instead in structures.items():
        inside = torch.nonzero(data[0] == number)
        if not len(inside):
            raise ValueError(f"The map holds no label {number}; it cannot shrink.")
        low = (inside.amin(0) - MARGIN).clamp(min=0).tolist()
        high = (inside.amax(0) + 1 + MARGIN).tolist()
        box = data[0][tuple(slice(a, b) for a, b in zip(low, high, strict=True))]  # a view: what is written stays
        left = round(len(inside) * (1 - share))
        depth = _depth(box, number, x.spacing)
        first = depth.argsort()[: len(inside) - left]
        places = torch.nonzero(box == number)[first]
        box[places[:, 0], places[:, 1], places[:, 2]] = instead
    return x.with_data(data)


def _depth(box: Tensor, number: int, spacing: tuple[float, float, float]) -> Tensor:
    """Of each voxel of a structure, how much of it is around, and how little fluid; (N,), in the order of nonzero."""
    fluid = torch.isin(box, torch.tensor(FLUID, dtype=box.dtype))
    maps = torch.stack([(box == number).float(), fluid.float()])
    for axis, mm in enumerate(spacing):
        maps = smooth(maps, REACH / mm, axis)
    inside = (box == number).numpy()
    return torch.from_numpy(np.ascontiguousarray((maps[0] - maps[1]).numpy()[inside]))
