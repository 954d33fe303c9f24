"""A field of view that ends before the head does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ...volume import Volume
from ..step import Draw, Range, Share, Step

MOST = 0.4  # of the extent that can be cut off each end


def view(x: Volume, *, cut: list[float]) -> Volume:
    """What the scan has not seen is zero, as prediction fills it [1]_.

    Parameters
    ----------
    x : Volume
    cut : mm, six numbers
        At the lower and the upper end of each axis; at most 0.4 of the extent at each end are taken.

    References
    ----------
    .. [1] Billot et al., MedIA 2023, doi:10.1016/j.media.2023.102789
    """
    if not any(cut):
        return x
    data = x.data.clone()
    for axis, (n, mm) in enumerate(zip(x.shape, x.spacing, strict=True)):
        low, high = (int(min(c / mm, MOST * n)) for c in cut[2 * axis : 2 * axis + 2])
        data.narrow(axis + 1, 0, low).zero_()
        data.narrow(axis + 1, n - high, high).zero_()
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class View(Step):
    """From a vertex cut off to a slab of some slices."""

    share: Share = 0.1  # of scans
    ends: Share = 0.35  # chance of each of the six ends of such a scan
    cut: Range = (2.0, 35.0)  # mm

    effect = staticmethod(view)

    def draw(self, rng: Random) -> Draw:
        partial = rng.random() < self.share
        chosen = [rng.random() < self.ends for _ in range(6)]
        return {"cut": [partial * end * rng.uniform(*self.cut) for end in chosen]}
