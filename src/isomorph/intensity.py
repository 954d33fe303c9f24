"""How bright is this image? One rule, shared by the generator and by prediction, so that they cannot drift apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FOREGROUND = 0.1  # of the bright end: air, even noisy, lies below; the darkest tissue mostly above
LOW, HIGH = 0.5, 99.0  # percentiles: a handful of hot voxels must not crush the brain
RAISED = 0.5  # of what is bright: the darkest voxels of a head are darker, unless an export lifted them all
PASSES = 3  # from a first guess of what is bright to one that no longer depends on the guess
SAMPLES = 250_000  # voxels looked at; a percentile needs no more
BRIGHTEST = 1.7  # times bright tissue: beyond it a compressed brightness says next to nothing
HOUNSFIELD = (0.0, 80.0)  # what tells brain tissues apart


def sampled(x: Tensor) -> Tensor:
    """At most `SAMPLES` evenly taken voxels.

    Parameters
    ----------
    x : tensor of any shape
    """
    flat = x.detach().flatten()
    # An odd step: an even one would look at the same few planes of a grid whose sides are even.
    return flat[:: (-(-flat.numel() // SAMPLES)) | 1]


def percentiles(x: Tensor, *q: float) -> list[float]:
    """Percentiles of a tensor, from at most `SAMPLES` evenly taken voxels.

    Parameters
    ----------
    x : tensor of any shape
    *q : percent

    Returns
    -------
    list of float
    """
    flat = sampled(x).float()
    last = flat.numel() - 1
    return [flat.kthvalue(1 + round(p / 100 * last)).values.item() for p in q]  # several times cheaper than a sort


def robust_range(x: Tensor) -> tuple[float, float]:
    """Level of air and level of bright tissue, whatever the field of view.

    A magnitude image has its air at zero, however little air it shows; only one that goes below zero, or is nowhere
    near it, has its zero elsewhere, at the `LOW` percentile of all voxels. Bright tissue is the `HIGH` percentile of
    the foreground, so that the share of empty space around the head does not change the scale.

    Parameters
    ----------
    x : tensor of any shape, finite

    Returns
    -------
    low, high : float
        With ``low < high`` unless the image is constant.
    """
    dark, likely, brightest = percentiles(x, LOW, 98.0, 99.9)
    low = dark if dark < 0 or dark > RAISED * likely else 0.0
    high = likely if likely > low else brightest  # a head that fills less than a fiftieth of the volume
    for _ in range(PASSES):
        foreground = x[x > low + FOREGROUND * (high - low)]
        if foreground.numel() == 0:
            break
        high = percentiles(foreground, HIGH)[0]
    return low, high


def normalise(x: Tensor, low: float, high: float) -> Tensor:
    """Air to 0, bright tissue to 1; what is brighter is compressed, not clipped, to at most 1.5.

    Parameters
    ----------
    x : tensor
    low, high : float
        As `robust_range` gives them.
    """
    y = ((x - low) / max(high - low, torch.finfo(torch.float32).tiny)).clamp(min=0)
    return torch.where(y > 1, 1 + 0.5 * torch.tanh(2 * (y - 1)), y)


def denormalise(y: Tensor, low: float, high: float) -> Tensor:
    """The way back from `normalise`; what was compressed is stretched again, up to `BRIGHTEST`.

    Parameters
    ----------
    y : tensor
    low, high : float
        As for `normalise`.
    """
    y = y.clamp(min=0)
    bright = 1 + 0.5 * torch.atanh((2 * (y - 1)).clamp(0, math.tanh(2 * (BRIGHTEST - 1))))
    return torch.where(y > 1, bright, y) * (high - low) + low


def soft_tissue(x: Tensor) -> Tensor:
    """Clip a CT to `HOUNSFIELD`, before anything is interpolated, so that bone does not bleed into the brain.

    Parameters
    ----------
    x : tensor
        Hounsfield units.
    """
    return x.clamp(*HOUNSFIELD)
