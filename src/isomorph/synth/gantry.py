"""Acquisition of CT: slices in Hounsfield units, noise of the beam, and the clip that prediction begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from torch import Tensor

from ..intensity import soft_tissue
from ..profile import FWHM_PER_SIGMA, smooth
from ..volume import Volume
from .artefacts.orientation import across
from .hounsfield import Hounsfield
from .slices import ORIENTATIONS, Slices, average_slices
from .step import Draw, Range, Share, Step, randn


def ct_slices(
    x: Volume,
    *,
    spacing: list[float],
    thickness: list[float],
    alpha: float,
    offset: list[float],
    sigma: float,
    grain: float,
    seed: int,
) -> Volume:
    """Acquire slices of a CT, then clip to 0 to 80 HU, as ``isomorph predict --ct`` does before it resamples [1]_.

    Inside a slice bone, brain and air mix in Hounsfield units; between slices, where the clipped ones are interpolated,
    bone no longer bleeds into the brain.

    Parameters
    ----------
    x : Volume
        Hounsfield units, not clipped.
    spacing, thickness, alpha, offset
        As `isomorph.synth.slices.thick_slices` takes them.
    sigma : HU
        Standard deviation of the noise in the slices: normal, as photons are many.
    grain : mm
        Full width at half maximum of the correlation of the noise within a slice.
    seed : int

    Returns
    -------
    Volume
        The acquired samples, 0 to 80 HU, on a grid of their own.

    References
    ----------
    .. [1] Kalender, Computed Tomography, 3rd edition, 2011, ISBN 978-3-89578-317-3
    """
    y = average_slices(x, spacing=spacing, thickness=thickness, alpha=alpha, offset=offset)
    return y.with_data(soft_tissue(y.data + sigma * _grainy(y, grain, seed)))


def _grainy(like: Volume, grain: float, seed: int) -> Tensor:
    """Noise of unit deviation, correlated within the slice; where voxels are nearly cubes, the axial one."""
    noise = randn(seed, *like.data.shape, like=like.data)
    through = across(like, ORIENTATIONS["axial"])  # tube and detectors turn about the axis of the body
    for axis, mm in enumerate(like.spacing):
        noise = noise if axis == through else smooth(noise, grain / mm / FWHM_PER_SIGMA, axis)
    return noise / noise.std().clamp(min=1e-6)


@dataclass(frozen=True, kw_only=True)
class Gantry(Slices):
    """From thin slices of a high dose to thick ones of a low dose. For the contrast `hounsfield` alone.

    Slices are axial, but for a share `reformatted` of the thick scans, which were saved as another plane.
    """

    thick: Share = 0.8
    blurred: Share = 0.0
    orientation: Literal["any", "sagittal", "coronal", "axial"] = "axial"
    reformatted: Share = 0.2
    noise: Range = (1.0, 6.0)  # HU
    grain: Range = (0.8, 2.5)  # mm

    effect = staticmethod(ct_slices)

    def ideal(self, x: Volume) -> Volume:
        """Clipped, as all that comes from a gantry is."""
        return x.with_data(soft_tissue(x.data))

    def across(self, rng: Random) -> int:
        """Axial, or sagittal or coronal where that was reconstructed."""
        axis = super().across(rng)
        return rng.randrange(2) if rng.random() < self.reformatted else axis

    def draw(self, rng: Random) -> Draw:
        return super().draw(rng) | {"grain": rng.uniform(*self.grain)}


def matched(contrast: Step, corruptions: Sequence[Step]) -> None:
    """CT is acquired by a gantry, and a gantry acquires nothing else.

    Raises
    ------
    ValueError
        If one is there without the other.
    """
    ct, gantry = isinstance(contrast, Hounsfield), any(isinstance(step, Gantry) for step in corruptions)
    if ct and not gantry:
        raise ValueError('contrast hounsfield wants gantry in place of slices, such as order = ["gantry", "window"]')
    if gantry and not ct:
        raise ValueError("gantry acquires CT alone; choose the contrast hounsfield, or slices in place of gantry")
