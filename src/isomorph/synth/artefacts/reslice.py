"""A scan that somebody resampled before."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch

from ...profile import apply, weights
from ...volume import Volume
from ..step import Draw, Range, Share, Step


def reslice(x: Volume, *, spacing: list[float], offset: list[float]) -> Volume:
    """Linear interpolation onto another grid, and back: twice the blur, differing from voxel to voxel [1]_.

    Parameters
    ----------
    x : Volume
    spacing : factor, three axes
        Voxels of the other grid, relative to those of the scan; 0 leaves the axis as it is.
    offset : fraction of a voxel of the other grid, three axes
        Position of its first voxel.

    References
    ----------
    .. [1] Thévenaz et al., IEEE TMI 2000, doi:10.1109/42.875199
    """
    data = x.data
    for axis, n in enumerate(x.shape):
        if spacing[axis]:
            centres = torch.arange(offset[axis] * spacing[axis], n, spacing[axis], dtype=torch.float64)
            back = (torch.arange(n, dtype=torch.float64) - centres[0]) / spacing[axis]
            data = apply(data, weights(len(centres), 0.0, back) @ weights(n, 0.0, centres), axis)
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class Reslice(Step):
    """From a shift of half a voxel to a detour over a coarser grid."""

    share: Share = 0.1  # of scans
    spacing: Range = (0.8, 1.3)  # factor

    effect = staticmethod(reslice)

    def draw(self, rng: Random) -> Draw:
        twice = rng.random() < self.share
        spacing = [twice * rng.uniform(*self.spacing) for _ in range(3)]
        return {"spacing": spacing, "offset": [rng.random() for _ in range(3)]}
