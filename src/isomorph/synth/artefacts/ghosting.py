"""Ghosts: what moves in a rhythm comes back along the phase axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch

from ...volume import Volume
from ..step import Counts, Draw, Range, Share, Step
from .orientation import in_plane


def ghosting(x: Volume, *, axis: int, phase: int, count: int, strength: float, delay: float) -> Volume:
    """A rhythmic modulation of the lines of k-space: two replicas, displaced along the phase axis [1]_.

    Parameters
    ----------
    x : Volume
        Its extent is taken for the field of view, round which ghosts wrap.
    axis : 0, 1 or 2
        Across the slices, where the voxels do not show it.
    phase : 0 or 1
        Which of the two axes of the plane is that of phase encoding.
    count : int
        Periods over k-space per line: ghosts are displaced by the field of view over `count`, either way.
    strength : factor
        Of each ghost, relative to the image.
    delay : turns
        Phase of the modulation: it decides whether ghosts add to the image or cancel it.

    References
    ----------
    .. [1] Wood & Henkelman, Med Phys 1985, doi:10.1118/1.595782
    """
    if strength == 0:
        return x
    along = in_plane(x, axis)[phase]
    step = max(1, round(x.shape[along] / count))
    ahead, behind = x.data.roll(step, along + 1), x.data.roll(-step, along + 1)
    # The modulation 1 + 2 strength cos(2 pi (line / count + delay)), by the shift theorem.
    angle = 2 * math.pi * delay
    real = x.data + strength * math.cos(angle) * (ahead + behind)
    return x.with_data(torch.hypot(real, strength * math.sin(angle) * (ahead - behind)))


@dataclass(frozen=True, kw_only=True)
class Ghosting(Step):
    """From pulsating vessels to a breathing, nodding patient."""

    share: Share = 0.08  # of scans
    count: Counts = (2, 8)
    strength: Range = (0.03, 0.2)

    effect = staticmethod(ghosting)

    def draw(self, rng: Random) -> Draw:
        return {
            "axis": rng.randrange(3),
            "phase": rng.randrange(2),
            "count": rng.randint(*self.count),
            "strength": (rng.random() < self.share) * rng.uniform(*self.strength),
            "delay": rng.random(),
        }
