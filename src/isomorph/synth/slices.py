"""Acquisition on a coarse grid: slice profile, spacing, and noise where the scanner adds it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
import torch

from ..profile import FWHM_PER_SIGMA, apply, weights
from ..volume import Volume
from .noise import rician
from .step import Draw, Range, Share, Step, seed

SIGMA = math.log(10) / math.pi  # standard deviation of the profile over the thickness, where alpha is 1
FULL_WIDTH = 1 / (SIGMA * FWHM_PER_SIGMA)  # alpha whose full width at half maximum is the thickness: 0.58
SAME = 1e-4  # of the spacing of the grid: what is closer to it is not sampled anew

ORIENTATIONS = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis across the slices


def thick_slices(
    x: Volume,
    *,
    spacing: list[float],
    thickness: list[float],
    alpha: float,
    offset: list[float],
    sigma: float,
    seed: int,
) -> Volume:
    """Acquire at another resolution [1]_.

    Parameters
    ----------
    x : Volume
    spacing : mm, for each of the three axes
        Distance between samples; an axis finer than the grid keeps the samples of the grid.
    thickness : mm, for each axis
        What the protocol calls the thickness. Less than the spacing: gaps; more: overlap.
    alpha : dimensionless
        Width of the Gaussian profile: its standard deviation is alpha ln(10) / pi times the thickness.
    offset : fraction of the spacing, for each axis
        Position of the first sample.
    sigma : fraction of the image maximum
        Rician noise, added where the scanner adds it: to the acquired samples.
    seed : int

    Returns
    -------
    Volume
        The acquired samples, on a grid of their own.

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """
    acquired = average_slices(x, spacing=spacing, thickness=thickness, alpha=alpha, offset=offset)
    return rician(acquired, sigma=sigma, seed=seed)


def average_slices(
    x: Volume, *, spacing: list[float], thickness: list[float], alpha: float, offset: list[float]
) -> Volume:
    """What `thick_slices` does, but for the noise."""
    data, grid = x.data, np.eye(4)
    for axis, (mm, n) in enumerate(zip(x.spacing, x.shape, strict=True)):
        step = spacing[axis] / mm
        if step < 1 - SAME:
            continue
        centres = None
        if step > 1 + SAME:
            start = min(offset[axis] * step, n - 1)
            centres = torch.arange(start, n, step, dtype=torch.float64)
            grid[axis, axis], grid[axis, 3] = step, start
        data = apply(data, weights(n, alpha * SIGMA * thickness[axis] / mm, centres), axis)
    return Volume(data, x.affine @ grid)


@dataclass(frozen=True, kw_only=True)
class Slices(Step):
    """From 1 mm isotropic to the thickest clinical protocols, in any orientation.

    A share `thick` of the scans is thin in two directions and thick in the third; a share `blurred` is coarse in all
    three (low field, 3-D protocols in a hurry); the others have voxels of 1 mm, or of the grid where that is coarser.
    """

    thick: Share = 0.65
    blurred: Share = 0.15
    orientation: Literal["any", "sagittal", "coronal", "axial"] = "any"  # of the slices of a thick scan
    spacing: Range = (2.0, 7.0)  # mm, of the thick direction
    in_plane: Range = (0.5, 1.5)  # mm, of the other two
    isotropic: Range = (1.0, 2.5)  # mm, of a blurred scan
    profile: Range = (0.6, 1.1)  # thickness over spacing
    gaps: Range | None = None  # the same across the slices of a thick scan, where they have gaps or overlap
    thickness: Range | None = None  # mm, of the thick direction, whatever the spacing
    alpha: Range = (0.5, 0.66)  # width of the profile: at 0.58 the thickness is its full width at half maximum
    noise: Range = (0.0, 0.06)  # fraction of the maximum

    effect = staticmethod(thick_slices)

    def ideal(self, x: Volume) -> Volume:
        """What a scanner of the resolution of the grid and without noise would have given."""
        return x

    def across(self, rng: Random) -> int:
        """The axis across the slices of a thick scan."""
        any_axis = rng.randrange(3)
        return ORIENTATIONS.get(self.orientation, any_axis)

    def draw(self, rng: Random) -> Draw:
        kind, axis = rng.random(), self.across(rng)
        if kind < self.thick:
            spacing = [rng.uniform(*self.in_plane)] * 3
            spacing[axis] = rng.uniform(*self.spacing)
        elif kind < self.thick + self.blurred:
            spacing = [rng.uniform(*self.isotropic) for _ in range(3)]
        else:
            spacing = [1.0] * 3
        thickness = [s * rng.uniform(*self.profile) for s in spacing]
        if self.gaps and kind < self.thick:
            thickness[axis] = spacing[axis] * rng.uniform(*self.gaps)
        if self.thickness and kind < self.thick:
            thickness[axis] = rng.uniform(*self.thickness)
        return {
            "spacing": spacing,
            "thickness": thickness,
            "alpha": rng.uniform(*self.alpha),
            "offset": [rng.random() for _ in range(3)],
            "sigma": rng.uniform(*self.noise),
            "seed": seed(rng),
        }
