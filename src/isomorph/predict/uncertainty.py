"""How wrong may each voxel be? An interval around the T1, as wide as was measured on scans whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..profile import smooth
from ..space import mirror
from ..volume import Volume

LEVEL = 0.9  # share of voxels whose truth lies in the interval
# The one place of calibration: half width of the interval, in scales of the Laplace head or in spreads of the others.
# Measured by benchmarks/uncertainty.py on held-out T1s made thick; measure again when the default model changes.
FACTOR = {"laplace": 2.3, "spread": 2.3}
BENDS = (0.8, 1.25)  # exponents of brightness: as another coil or sequence would bend it
SHIFT = 0.5  # mm: between slices an edge may lie this far from where it is drawn
FLOOR = 0.05  # of white matter: with it wide and narrow intervals hold alike
NEAR = 1.0  # voxels: two passes agree by chance in one voxel, not in its neighbourhood
SHARPEST = -6.0  # logarithm of the least scale, as in training

Pass = Callable[[Volume], Volume]  # the network, once


def speaks(card: dict[str, Any]) -> bool:
    """Whether the second output of a model is the logarithm of its scale: it was trained with `laplace` to the end.

    Parameters
    ----------
    card : dict
    """
    stages = card.get("recipe", {}).get("training", {}).get("stages", [])
    return bool(stages) and "laplace" in stages[-1].get("loss", {})


def interval(raw: Volume, image: Volume, card: dict[str, Any], again: Pass) -> Volume:
    """Half width of the interval that holds the truth in `LEVEL` of the voxels, in the unit of the raw output.

    From the Laplace head, where the model has one. Else from the spread of the network over the mirrored scan and two
    bent scales of brightness, together with what half a millimetre would change.

    Parameters
    ----------
    raw : Volume
        Output of the network.
    image : Volume
        What it saw.
    card : dict
        Of the model.
    again : callable
        The network on another image, unmirrored.
    """
    white = float(card["white_matter"])
    if speaks(card):
        return raw.with_data(raw.data[1:2].clamp(min=SHARPEST).exp() * (white * FACTOR["laplace"]))
    return raw.with_data(_spread(raw, image, again, FLOOR * white) * FACTOR["spread"])


def _spread(raw: Volume, image: Volume, again: Pass, floor: float) -> Tensor:
    """Root of the mean square of what may differ; (1, I, J, K)."""
    centre = raw.data[:1]
    plain = again(bent(image, BENDS[0])).data[:1]
    other = mirror(again(mirror(bent(image, BENDS[1])))).data[:1]
    square = ((plain - centre) ** 2 + (other - centre) ** 2) / 2
    for axis, size in enumerate(raw.spacing):
        square = square + (torch.gradient(centre, dim=axis + 1)[0] * (SHIFT / size)) ** 2
    for axis in range(3):
        square = smooth(square, NEAR, axis)
    return (square + floor**2).sqrt()


def bent(image: Volume, exponent: float) -> Volume:
    """Another scale of brightness; what tells which voxels were measured stays.

    Parameters
    ----------
    image : Volume
        The scan, then perhaps its reliability.
    exponent : float
    """
    return image.with_data(torch.cat([image.data[:1].clamp(min=0) ** exponent, image.data[1:]]))
