"""Air around the head: exactly zero, or noisier than the head."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch

from ...profile import smooth
from ...volume import Volume
from ..step import Draw, Range, Share, Step, randn, seed

SMOOTHING = 1.0  # voxels: single bright voxels of air are air


def background(x: Volume, *, threshold: float, level: float, seed: int) -> Volume:
    """Replace the air around the head, and what is as dark as air [1]_.

    Parameters
    ----------
    x : Volume
    threshold : fraction of the image maximum
        What is darker is taken for air; 0 leaves the image as it is.
    level : fraction of the image maximum
        Standard deviation of each channel of the noise that is put there; 0 makes it exactly zero.
    seed : int

    References
    ----------
    .. [1] Gudbjartsson & Patz, MRM 1995, doi:10.1002/mrm.1910340618
    """
    if threshold == 0:
        return x
    top, blurred = x.data.amax(), x.data
    for axis in range(3):
        blurred = smooth(blurred, SMOOTHING, axis)
    air = torch.zeros_like(x.data)
    if level > 0:
        air = level * top * torch.linalg.vector_norm(randn(seed, 2, *x.data.shape, like=x.data), dim=0)
    return x.with_data(torch.where(blurred < threshold * top, air, x.data))


@dataclass(frozen=True, kw_only=True)
class Background(Step):
    """From a mask that the vendor applied to a background full of noise."""

    share: Share = 0.15  # of scans
    threshold: Range = (0.02, 0.08)  # fraction of the maximum
    zero: Share = 0.6  # share of these whose background becomes exactly zero
    level: Range = (0.005, 0.06)  # fraction of the maximum

    effect = staticmethod(background)

    def draw(self, rng: Random) -> Draw:
        return {
            "threshold": (rng.random() < self.share) * rng.uniform(*self.threshold),
            "level": 0.0 if rng.random() < self.zero else rng.uniform(*self.level),
            "seed": seed(rng),
        }
