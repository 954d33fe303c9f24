"""Wrap-around: the field of view was smaller than the head."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ...volume import Volume
from ..step import Draw, Range, Share, Step

MOST = 0.4  # of the extent that can be cut off


def wrap(x: Volume, *, axis: int, cut: list[float], strength: float) -> Volume:
    """What lies beyond one end of the field of view appears inside the other [1]_.

    Parameters
    ----------
    x : Volume
    axis : 0, 1 or 2
        That of phase encoding.
    cut : mm, two numbers
        What lies outside at the lower and at the upper end; together at most 0.4 of the extent are taken.
    strength : factor
        Of what is folded in: coils receive less from outside.

    References
    ----------
    .. [1] Pusey et al., RadioGraphics 1988, doi:10.1148/radiographics.8.5.3227538
    """
    n, mm = x.shape[axis], x.spacing[axis]
    scale = min(1.0, MOST * n * mm / max(sum(cut), 1e-6))
    low, high = (int(c * scale / mm) for c in cut)
    if low + high == 0:
        return x
    view = n - low - high
    data = x.data.clone()
    if low:
        data.narrow(axis + 1, view, low).add_(x.data.narrow(axis + 1, 0, low), alpha=strength)
        data.narrow(axis + 1, 0, low).zero_()
    if high:
        data.narrow(axis + 1, low, high).add_(x.data.narrow(axis + 1, n - high, high), alpha=strength)
        data.narrow(axis + 1, n - high, high).zero_()
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class Wrap(Step):
    """From a nose at the back of the head to both ears inside it."""

    share: Share = 0.04  # of scans
    cut: Range = (3.0, 25.0)  # mm, at one end or at both
    strength: Range = (0.3, 1.0)

    effect = staticmethod(wrap)

    def draw(self, rng: Random) -> Draw:
        ends = rng.choice([(1, 0), (0, 1), (1, 1)]) if rng.random() < self.share else (0, 0)
        return {
            "axis": rng.randrange(3),
            "cut": [end * rng.uniform(*self.cut) for end in ends],
            "strength": rng.uniform(*self.strength),
        }
