"""What the two incumbents do before and after their network; one pair of functions for each of them.

Differences: FreeSurfer pads before it normalises, so that its zeros take part; it clips CT after resampling, clips each
pass of the network before averaging, sharpens, and gives 8 bits in the axes of the scan at twice the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...intensity import soft_tissue
from ...volume import Volume
from .grid import Window, align, align_back, crop, pad, resample, smooth

SCALE = 255.0
CEILING = 128.0  # of the scaled output
SIGMA, AMOUNT = 1.5, 1.0  # of the unsharp mask: voxels, share


@dataclass(frozen=True, eq=False)
class Fed:
    """What the network is given, and the way back.

    Parameters
    ----------
    image : (C, I, J, K) tensor
        Axes in RAS order, sides multiples of 32, float32.
    window : (start, shape)
        Where the scan lies in it.
    native, aligned : (4, 4) arrays
        Of the 1 mm grid, in the axes of the scan and in RAS order.
    range : (low, high)
        Intensities of the scan that became 0 and 1.
    """

    image: Tensor
    window: Window
    native: np.ndarray
    aligned: np.ndarray
    range: tuple[float, float]


@dataclass(frozen=True)
class Rules:
    """One incumbent.

    Parameters
    ----------
    prepare : (scans, bool) -> Fed
        Of the scans that it takes, all but one of them one; and whether they are CT.
    restore : (passes of the network, Fed, bool) -> Volume
        The flag says whether to sharpen, where the incumbent does.
    white_matter, top : float, optional
        Where white matter comes to lie, and the greatest value; None where it is that of the scan.
    dtype : str
        Of the file.
    mirrored : bool
        Whether it runs the network on the mirrored scan too.
    """

    prepare: Callable[[Sequence[Volume], bool], Fed]
    restore: Callable[[Sequence[Tensor], Fed, bool], Volume]
    white_matter: float | None
    top: float | None
    dtype: str
    mirrored: bool = True


def prepare_github(scans: Sequence[Volume], ct: bool) -> Fed:
    """As ``predict_command_line.py``: clip CT, resample, align, normalise, pad."""
    (scan,) = scans
    x = scan.data[0].double()
    x, native = resample(soft_tissue(x) if ct else x, scan.affine)
    x, aligned = align(x, native)
    x, low, high = normalise(x)
    x, window = pad(x)
    return Fed(x[None].float(), window, native, aligned, (low, high))


def prepare_freesurfer(scans: Sequence[Volume], ct: bool) -> Fed:
    """As ``mri_synthsr``: resample, align, pad, clip CT, normalise."""
    (scan,) = scans
    x, native = resample(scan.data[0].double(), scan.affine)
    x, aligned = align(x, native)
    x, window = pad(x)
    x, low, high = normalise(soft_tissue(x) if ct else x)
    return Fed(x[None].float(), window, native, aligned, (low, high))


def restore_github(passes: Sequence[Tensor], fed: Fed, sharpen: bool = True) -> Volume:
    """Average, scale, clip, crop; stays in RAS order. Never sharpened: the flag is there for all rules alike."""
    mean = sum((p.double() for p in passes[1:]), passes[0].double()) / len(passes)
    x = crop((SCALE * mean).clamp(0, CEILING), fed.window)
    return Volume(x[None].float(), fed.aligned)


def restore_freesurfer(passes: Sequence[Tensor], fed: Fed, sharpen: bool = True) -> Volume:
    """Scale and clip each, average, crop, sharpen, back to the axes of the scan, twice the scale, 8 bits."""
    clipped = [(SCALE * p.double()).clamp(0, CEILING) for p in passes]
    x = crop(sum(clipped[1:], clipped[0]) / len(clipped), fed.window)
    if sharpen:
        x = x + AMOUNT * (x - smooth(x, [SIGMA] * 3))
    x = align_back(x, fed.native)
    return Volume((2 * x).clamp(0, 255).floor()[None].float(), fed.native)


def normalise(x: Tensor) -> tuple[Tensor, float, float]:
    """Least to 0, greatest to 1: no percentile, so that one hot voxel darkens the rest."""
    low, high = x.min().item(), x.max().item()
    return (x - low) / max(high - low, torch.finfo(torch.float32).tiny), low, high


RULES = {
    "freesurfer": Rules(prepare_freesurfer, restore_freesurfer, 220.0, 255.0, "uint8"),
    "github": Rules(prepare_github, restore_github, 110.0, CEILING, "float32"),
}
