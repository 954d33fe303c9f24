"""Acquisition on a coarse grid: slice profile, spacing, noise, and interpolation back."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch

from ..profile import FWHM_PER_SIGMA, sample, smooth
from ..volume import Volume
from .noise import rician
from .step import Draw, Range, Step, seed


def thick_slices(
    x: Volume, *, spacing: list[float], thickness: list[float], offset: list[float], sigma: float, seed: int
) -> Volume:
    """Acquire at another resolution, then interpolate back to the grid, as prediction does with a real scan [1]_.

    Parameters
    ----------
    x : Volume
    spacing : mm, for each of the three axes
        Distance between samples; axes at or below the spacing of the grid are not sampled anew.
    thickness : mm, for each axis
        Full width at half maximum of the Gaussian profile. Less than the spacing: gaps; more: overlap.
    offset : fraction of the spacing, for each axis
        Position of the first sample.
    sigma : fraction of the image maximum
        Rician noise, added where the scanner adds it: to the coarse samples.
    seed : int

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """
    data, centres = x.data, {}
    for axis, (mm, n) in enumerate(zip(x.spacing, x.shape, strict=True)):
        # 1. Average over the profile. The grid's own voxels are already as wide as a voxel.
        width = max(0.0, (thickness[axis] / mm) ** 2 - 1) ** 0.5
        data = smooth(data, width / FWHM_PER_SIGMA, axis)
        # 2. Sample at the slice centres.
        step = spacing[axis] / mm
        if step > 1:
            start = min(offset[axis] * step, n - 1)
            centres[axis] = torch.arange(start, n, step, device=data.device).clamp(max=n - 1)
            data = sample(data, centres[axis], axis)
    # 3. Noise belongs to the acquired samples.
    data = rician(Volume(data, x.affine), sigma=sigma, seed=seed).data
    # 4. Interpolate back, so that voxel i of the output is still voxel i of the input.
    for axis, positions in centres.items():
        step = spacing[axis] / x.spacing[axis]
        grid = (torch.arange(x.shape[axis], device=data.device) - positions[0]) / step
        data = sample(data, grid, axis)
    return x.with_data(data)


@dataclass(frozen=True, kw_only=True)
class Slices(Step):
    """From 1 mm isotropic to the thickest clinical protocols, in any orientation.

    A share `thick` of the scans is thin in two directions and thick in the third; a share `blurred` is coarse in all
    three (low field, 3-D protocols in a hurry); the others are at the resolution of the grid.
    """

    thick: float = 0.65
    blurred: float = 0.15
    spacing: Range = (2.0, 7.0)  # mm, of the thick direction
    in_plane: Range = (0.5, 1.5)  # mm, of the other two
    isotropic: Range = (1.0, 2.5)  # mm, of a blurred scan
    profile: Range = (0.6, 1.1)  # thickness over spacing
    noise: Range = (0.0, 0.06)  # fraction of the maximum

    effect = staticmethod(thick_slices)

    def draw(self, rng: Random) -> Draw:
        kind, axis = rng.random(), rng.randrange(3)
        if kind < self.thick:
            spacing = [rng.uniform(*self.in_plane)] * 3
            spacing[axis] = rng.uniform(*self.spacing)
        elif kind < self.thick + self.blurred:
            spacing = [rng.uniform(*self.isotropic) for _ in range(3)]
        else:
            spacing = [1.0] * 3
        return {
            "spacing": spacing,
            "thickness": [s * rng.uniform(*self.profile) for s in spacing],
            "offset": [rng.random() for _ in range(3)],
            "sigma": rng.uniform(*self.noise),
            "seed": seed(rng),
        }
