"""One scan of an exam: painted, acquired of a head that may have moved, and put onto the grid of the sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..labels import CLUSTER
from ..space import corners, resample
from ..volume import Volume
from .bias import Bias
from .contrasts import is_t1
from .gamma import Gamma
from .gantry import matched
from .head import Anatomy, Grid, Head
from .mixture import Mixture, blend
from .motion import Motion, registered, rigid
from .slices import SAME, Slices
from .step import Draw, Step
from .window import Window, window

EXACT = {"error_rotation": [0.0] * 3, "error_translation": [0.0] * 3}


class Scan(NamedTuple):
    """A channel on the grid of the sample."""

    image: Volume
    measured: Grid  # where its samples were taken, after registration
    clean: Volume | None  # as it was before the scanner sampled it, in the same place, with the same window


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Contrast, what the scanner does to it, in its order, and how the head lay; the first channel does not move."""

    contrast: Step = Mixture()
    corruptions: tuple[Step, ...] = (Bias(), Gamma(), Slices(), Window())
    motion: Motion = Motion()

    def __post_init__(self) -> None:
        matched(self.contrast, self.corruptions)

    def draw(self, rng: Random, *, moves: bool) -> Draw:
        """All numbers of one scan."""
        return {
            "contrast": self.contrast.draw(rng),
            "corruptions": [step.draw(rng) for step in self.corruptions],
            "motion": self.motion.draw(rng) if moves else None,
        }

    def spacing(self, draw: Draw) -> list[float]:
        """Distance between the samples of such a scan along each axis, mm; infinite where it has those of its grid."""
        return self._slices(draw).get("spacing", [math.inf] * 3)

    def acquire(self, head: Head, draw: Draw, *, clean: bool = False) -> Scan:
        """Scan a head, register the scan to the reference, and interpolate it onto the grid of the sample once.

        Parameters
        ----------
        head : Head
        draw : as `draw` gives it
        clean : bool
            Keep the image as it was before the scanner sampled it, too.
        """
        motion, steps = draw["motion"], list(zip(self.corruptions, draw["corruptions"], strict=True))
        image = ideal = self._painted(_found(head, motion), draw["contrast"])
        for step, numbers in steps:
            if not step.resampled:
                if isinstance(step, Slices):
                    ideal = step.ideal(image)
                image = step.effect(image, **numbers)
        image, ideal = _registered(image, motion, head.grid), _registered(ideal, motion and motion | EXACT, head.grid)
        measured = self._sampled(image, draw)
        image = resample(image, *head.grid, fill=None)  # as prediction does it
        truth = resample(ideal, *head.grid, fill=None) if clean else None
        for step, numbers in steps:
            if truth and isinstance(step, Window):
                truth = window(truth, **numbers, like=image)
            if step.resampled:
                image = step.effect(image, **numbers)
        return Scan(image, measured, truth)

    def _slices(self, draw: Draw) -> Draw:
        steps = zip(self.corruptions, draw["corruptions"], strict=True)
        return next((numbers for step, numbers in steps if isinstance(step, Slices)), {})

    def _sampled(self, image: Volume, draw: Draw) -> Grid:
        """Where the scanner took its samples: closer than those of the image, where its grid could not follow."""
        shape, inner = list(image.shape), np.eye(4)
        for axis, (mm, here) in enumerate(zip(self.spacing(draw), image.spacing, strict=True)):
            closer = mm / here
            if closer < 1 - SAME:
                first = self._slices(draw)["offset"][axis] * closer
                first -= closer * math.floor((first + 0.5) / closer)  # from edge to edge of the grid
                inner[axis, axis], inner[axis, 3] = closer, first
                shape[axis] = math.floor((shape[axis] - 0.5 - first) / closer) + 1
        i, j, k = shape
        return Grid((i, j, k), image.affine @ inner)

    def _painted(self, anatomy: Anatomy, draw: Draw) -> Volume:
        scan, lesions = anatomy.scan, anatomy.lesions
        if not scan or "means" not in draw or not is_t1(draw["means"]):
            more = {"lesions": lesions} if lesions else {}  # contrasts of old need not know of them
            return self.contrast.effect(anatomy.labels, **draw, **more)
        white, lent = draw["means"]["white"], _lent(anatomy.labels)
        if lent.any():
            around = self.contrast.effect(anatomy.labels, **draw).data / white
            scan = scan.with_data(torch.where(lent, around, scan.data))
        if not lesions:
            return scan
        return blend(scan, lesions, {tissue: mean / white for tissue, mean in draw["means"].items()})


def _lent(labels: Volume) -> Tensor:
    """Where the head of a real T1 is that of a label map: what no cluster of its own brightness tells."""
    clusters = labels.data >= CLUSTER
    return (labels.data > 0) & ~clusters & clusters.any()


def _found(head: Head, motion: Draw | None) -> Anatomy:
    """What a scanner finds on a grid of its own."""
    if not motion:
        return head.found
    moved = rigid(motion["rotation"], motion["translation"], head.grid.middle)
    return head.seen(cover(head.grid, moved), np.linalg.inv(moved))


def _registered(x: Volume, motion: Draw | None, grid: Grid) -> Volume:
    return registered(x, **motion, centre=grid.middle) if motion else x


def cover(grid: Grid, moved: np.ndarray) -> Grid:
    """A grid continued as far as it takes to cover what lay in it and has moved: the field of view follows the head.

    Parameters
    ----------
    grid : Grid
    moved : (4, 4) array, mm
    """
    move = np.linalg.inv(grid.affine) @ moved @ grid.affine
    ends = corners(grid.shape, move)
    low = np.floor(ends.min(0))
    i, j, k = (np.ceil(ends.max(0)) - low + 1).astype(int).tolist()
    start = np.eye(4)
    start[:3, 3] = low
    return Grid((i, j, k), grid.affine @ start)
