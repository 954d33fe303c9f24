"""Thermal noise of magnitude images."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch

from ..volume import Volume
from .step import Draw, Range, Step, randn, seed


def rician(x: Volume, *, sigma: float, seed: int) -> Volume:
    """Magnitude of a complex signal with Gaussian noise [1]_.

    Parameters
    ----------
    x : Volume
    sigma : fraction of the image maximum
        Standard deviation of each of the two channels.
    seed : int

    References
    ----------
    .. [1] Gudbjartsson & Patz, MRM 1995, doi:10.1002/mrm.1910340618
    """
    real, imaginary = sigma * x.data.max() * randn(seed, 2, *x.data.shape, like=x.data)
    return x.with_data(torch.hypot(x.data + real, imaginary))


@dataclass(frozen=True, kw_only=True)
class Noise(Step):
    """From noiseless to a poor low-field scan."""

    sigma: Range = (0.0, 0.06)

    effect = staticmethod(rician)

    def draw(self, rng: Random) -> Draw:
        return {"sigma": rng.uniform(*self.sigma), "seed": seed(rng)}
