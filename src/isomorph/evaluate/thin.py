"""A thin scan made thick: the truth for super-resolution is the scan itself."""

from __future__ import annotations

import math

import torch

from ..profile import FWHM_PER_SIGMA, sample, smooth
from ..volume import Volume

ROUNDING = 1e-3  # voxels: a spacing of a header has the digits of float32


def thicken(volume: Volume, *, axis: int, spacing: float, thickness: float | None = None) -> Volume:
    """What the scanner would have given with thicker slices.

    Parameters
    ----------
    volume : Volume
        With thin slices along `axis`.
    axis : int
        Of the voxel grid: 0, 1 or 2.
    spacing : mm
        Between slice centres.
    thickness : mm, optional
        Full width at half maximum of the Gaussian slice profile; the spacing by default.

    Returns
    -------
    Volume
        On a coarser grid at the same place in the world, in the middle of the old one, up to a voxel: slices begin
        where a voxel does, so that the 1 mm grid of a T1 made of it has the voxel centres of a `volume` of 1 mm.

    Raises
    ------
    ValueError
        If spacing or thickness is not above 0, or no slice fits into the field of view.
    """
    thickness = spacing if thickness is None else thickness
    for name, mm in (("spacing", spacing), ("thickness", thickness)):
        if not 0 < mm < math.inf:
            raise ValueError(f"{name} is {mm}; give millimetres above 0.")
    voxel, n = volume.spacing[axis], volume.shape[axis]
    step = spacing / voxel
    count = int(n / step + ROUNDING)
    if not count:
        raise ValueError(f"spacing is {spacing} mm and the field of view {n * voxel:g} mm; give that much at most.")
    width = max(0.0, thickness**2 - voxel**2) ** 0.5  # the voxels are already as wide as a voxel
    data = smooth(volume.data, width / FWHM_PER_SIGMA / voxel, axis)
    first = (n - count * step + 2 * ROUNDING) // 2 + (step - 1) / 2
    data = sample(data, first + step * torch.arange(count), axis)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * first
    affine[:3, axis] *= step
    return Volume(data, affine)
