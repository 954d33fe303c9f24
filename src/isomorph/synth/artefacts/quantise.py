"""Few grey levels: a scan saved in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ...volume import Volume
from ..step import Counts, Draw, Range, Share, Step


def quantise(x: Volume, *, levels: int, top: float) -> Volume:
    """Round to a number of levels between zero and a maximum; what is brighter is cut off [1]_.

    Parameters
    ----------
    x : Volume
    levels : int
        256 for 8 bits; 0 leaves the image as it is.
    top : fraction of the image maximum
        That the highest level stands for.

    References
    ----------
    .. [1] Gray & Neuhoff, IEEE Trans Inf Theory 1998, doi:10.1109/18.720541
    """
    if levels == 0:
        return x
    step = top * x.data.amax().clamp(min=1e-12) / max(levels - 1, 1)
    return x.with_data((x.data / step).round().clamp(0, levels - 1) * step)


@dataclass(frozen=True, kw_only=True)
class Quantise(Step):
    """From 8 bits well used to a screenshot with a narrow window."""

    share: Share = 0.15  # of scans
    levels: Counts = (48, 256)
    top: Range = (0.6, 1.0)  # fraction of the maximum

    effect = staticmethod(quantise)

    def draw(self, rng: Random) -> Draw:
        coarse = rng.random() < self.share
        return {"levels": coarse * rng.randint(*self.levels), "top": rng.uniform(*self.top)}
