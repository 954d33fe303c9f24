"""How much room is there within the skull? Estimated from the brain: a T1 shows fluid and bone alike, both dark."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

GRID = 2  # mm: an edge is looked at no finer
REACH = 16.0  # mm: clefts and cisterns narrower than twice this are within the skull
# What fits 20 label maps of whole heads best: benchmarks/intracranial.py. Where ventricles are wide, so is the fluid
# around the brain.
CLOSED, VENTRICLES = 1.03, 1.91


def intracranial(brain: Tensor, ventricles: float, voxel: float) -> float:
    """mm3 within the skull, estimated: the brain with its clefts closed, and more where its ventricles are wide.

    Held against brain and fluid above the foramen magnum in 20 label maps of whole heads, each left out of the fit in
    its turn, it was off by 2.2 % in the mean and by 9 % at most. It went with the truth (correlation 0.93) as the
    brain alone does not (0.72).

    Parameters
    ----------
    brain : (I, J, K) tensor
        How much of each voxel is brain or ventricle; 1 mm.
    ventricles : mm3
    voxel : mm3

    References
    ----------
    .. [1] Buckner et al., NeuroImage 2004, doi:10.1016/j.neuroimage.2004.06.018, why volumes are divided by it.
    """
    return CLOSED * closed(brain, voxel) + VENTRICLES * ventricles


def closed(brain: Tensor, voxel: float) -> float:
    """mm3 of the brain with all clefts closed that are narrower than twice `REACH`.

    Parameters
    ----------
    brain, voxel
        As for `intracranial`.
    """
    from scipy.ndimage import distance_transform_edt

    size = [min(GRID, n) for n in brain.shape]
    mask = (avg_pool3d(brain[None].float(), size, ceil_mode=True)[0] >= 0.5).numpy()
    if not mask.any():
        return 0.0
    where = torch.from_numpy(mask).nonzero()
    low, high = where.amin(0).tolist(), (where.amax(0) + 1).tolist()
    room = int(REACH / GRID) + 2
    box = np.pad(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], room)
    grown = np.asarray(distance_transform_edt(~box, sampling=GRID)) <= REACH
    inside = np.asarray(distance_transform_edt(grown, sampling=GRID)) > REACH
    return float(inside.sum()) * voxel * float(np.prod(size))
