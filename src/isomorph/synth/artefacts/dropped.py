"""Slices that were lost."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ...volume import Volume
from ..step import Counts, Draw, Range, Share, Step
from .orientation import across


def dropped(x: Volume, *, axis: int, slices: list[float], left: float) -> Volume:
    """Some slices have lost their signal, or most of it [1]_.

    Parameters
    ----------
    x : Volume
        As acquired: one voxel for each slice.
    axis : 0, 1 or 2
        Across the slices, where the voxels do not show it.
    slices : list of 0 to 1
        Where along the stack.
    left : factor
        Of the signal of these slices; 0 if they are missing.

    References
    ----------
    .. [1] Andersson et al., NeuroImage 2016, doi:10.1016/j.neuroimage.2016.06.058
    """
    if not slices:
        return x
    through = across(x, axis)
    n = x.shape[through]
    data = x.data.clone()
    for place in slices:
        data.select(through + 1, min(int(place * n), n - 1)).mul_(left)
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class Dropped(Step):
    """From one dark slice to a transmission with holes."""

    share: Share = 0.05  # of scans
    count: Counts = (1, 4)  # slices
    missing: Share = 0.5  # share of these scans whose slices are exactly zero; the others keep up to half the signal
    left: Range = (0.1, 0.5)

    effect = staticmethod(dropped)

    def draw(self, rng: Random) -> Draw:
        count = rng.randint(*self.count) if rng.random() < self.share else 0
        left = 0.0 if rng.random() < self.missing else rng.uniform(*self.left)
        return {"axis": rng.randrange(3), "slices": [rng.random() for _ in range(count)], "left": left}
