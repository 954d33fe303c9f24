"""Whole heads around the brains of skull-stripped scans: skull, skin and eyes are lent by a label map."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..labels import FLUID_OUTSIDE, brain_mask
from ..volume import Volume
from .warp import painted, painted_brain, warped

SKIN, BONE = 511, 515
BRAINSTEM, CORD = 16, 512  # go on below the cut of a skull-stripping tool
FIT = 0.92  # Dice; below, of six in 72 scans, fluid was thick or a second brainstem lay beside the first


class Whole(NamedTuple):
    """A real brain in a lent head."""

    labels: Volume
    target: Volume  # real inside the brain, painted around it
    lesions: Volume | None  # in the real brain, of those that had been carried into the lent head
    fit: float  # of the brain into the skull: Dice of the two, fluid counted in


def lends(labels: Volume) -> bool:
    """Does a label map know of a head around the brain? Eyes, vessels or a cord alone are none."""
    return bool(((labels.data == SKIN) | (labels.data == BONE)).any())


def in_head(labels: Volume, target: Volume, lent: Volume, lesions: Volume | None) -> Whole:
    """Set the brain of a scan into the head of a label map, and fill the gap with fluid.

    Parameters
    ----------
    labels, target : Volume, (1, I, J, K)
        Of the scan: levels of its brightness, and the T1, white matter at 1; zero outside the brain, with room for a
        head around it.
    lent : Volume, (1, I, J, K)
        Label map of a whole head.
    lesions : Volume or None
        In the place of `lent`.

    Raises
    ------
    SetupError
        If antspyx is not installed.
    """
    passengers = [x for x in (lent, lesions) if x]
    around, *ill = warped(painted_brain(lent), target, passengers)
    from scipy.ndimage import binary_dilation, binary_fill_holes  # here: training runs without scipy

    filled = binary_fill_holes(labels.data[0].numpy() > 0)
    brain, near = (torch.from_numpy(mask)[None] for mask in (filled, binary_dilation(filled)))  # it never touches bone
    head = around.data.to(labels.data.dtype)
    lost = brain_mask(head)  # the brain that was there
    room = lost | (head == FLUID_OUTSIDE)
    fit = (2 * (room & brain).sum() / (room.sum() + brain.sum())).item()
    stem = (head == BRAINSTEM) | (head == CORD)
    head = head.masked_fill((lost | near) & ~stem | brain, FLUID_OUTSIDE)
    whole = labels.with_data(torch.where(labels.data > 0, labels.data, head))
    shown = torch.where(labels.data > 0, target.data, painted(whole).data.to(target.data.dtype))
    masks = labels.with_data(ill[0].data.to(torch.uint8) * brain) if ill else None
    return Whole(whole, target.with_data(shown), masks, fit)
