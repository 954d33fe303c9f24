"""Contrast between dark and bright, as reconstruction and windowing change it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..volume import Volume
from .step import Draw, Range, Step


def gamma(x: Volume, *, exponent: float) -> Volume:
    """Power law of intensities between zero and the maximum [1]_.

    Parameters
    ----------
    x : Volume
        Not negative; what is negative becomes zero.
    exponent : dimensionless
        Above 1 darkens mid-greys, below 1 brightens them; air and the brightest voxel stay.

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """
    top = x.data.amax().clamp(min=1e-12)
    return x.with_data((x.data.clamp(min=0) / top) ** exponent * top)


@dataclass(frozen=True, kw_only=True)
class Gamma(Step):
    """From a scan windowed for bone to one windowed for fluid."""

    exponent: Range = (0.7, 1.4)

    effect = staticmethod(gamma)

    def draw(self, rng: Random) -> Draw:
        return {"exponent": rng.uniform(*self.exponent)}
