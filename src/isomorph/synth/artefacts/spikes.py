"""Spikes: one wrong point of k-space is a wave across the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch

from ...volume import Volume
from ..step import Counts, Draw, Range, Share, Step
from .orientation import across


def spikes(x: Volume, *, axis: int, waves: list[list[float]], amplitude: float, where: float) -> Volume:
    """Plane waves on top of the image, each from one point of k-space [1]_.

    Parameters
    ----------
    x : Volume
    axis : 0, 1 or 2
        Across the slices, where the voxels do not show it.
    waves : list of four numbers each
        Cycles per mm along the three axes, and the phase in turns.
    amplitude : fraction of the image maximum
        Of each wave.
    where : 0 to 1
        Which slice; the discharge strikes one slice of a stack. Above 1: all, as in a 3-D acquisition.

    References
    ----------
    .. [1] Zhuo & Gullapalli, RadioGraphics 2006, doi:10.1148/rg.261055134
    """
    if not waves:
        return x
    through = across(x, axis)
    n = x.shape[through]
    low, high = (0, n) if where > 1 else (min(int(where * n), n - 1), min(int(where * n), n - 1) + 1)
    struck = x.data.narrow(through + 1, low, high - low)
    top, added = amplitude * x.data.amax(), torch.zeros_like(struck[:1])
    for *frequency, turns in waves:
        factors = []
        for k, (cycles, size) in enumerate(zip(frequency, x.spacing, strict=True)):
            first = low if k == through else 0
            at = torch.arange(first, first + struck.shape[k + 1], device=x.data.device) * size
            shape = [-1 if k == other else 1 for other in range(3)]
            factors.append(
                torch.polar(torch.ones_like(at), 2 * math.pi * (cycles * at + (turns if k == 0 else 0))).view(shape)
            )
        added += (factors[0] * factors[1] * factors[2]).real
    data = x.data.clone()
    data.narrow(through + 1, low, high - low).add_(top * added).abs_()
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class Spikes(Step):
    """From a stripe that one must look for to corduroy."""

    share: Share = 0.04  # of scans
    count: Counts = (1, 3)  # spikes
    frequency: Range = (0.02, 0.35)  # cycles per mm
    amplitude: Range = (0.01, 0.1)  # fraction of the maximum
    stacks: Share = 0.5  # share of these scans of which one slice is struck, the others as a whole

    effect = staticmethod(spikes)

    def draw(self, rng: Random) -> Draw:
        count = rng.randint(*self.count) if rng.random() < self.share else 0
        waves = []
        for _ in range(count):
            direction = [rng.gauss(0, 1) for _ in range(3)]
            scale = rng.uniform(*self.frequency) / math.hypot(*direction)
            waves.append([scale * d for d in direction] + [rng.random()])
        where = rng.random() if rng.random() < self.stacks else 2.0
        return {"axis": rng.randrange(3), "waves": waves, "amplitude": rng.uniform(*self.amplitude), "where": where}
