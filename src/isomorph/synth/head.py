"""The head of a sample: deformed, ill, stripped; it can be looked at on any grid."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..labels import swap_sides
from ..space import Shape
from ..volume import Volume
from .coordinates import positions, pull, transformed
from .deform import placement
from .pathology import grow
from .step import Draw
from .strip import Ball, balls, strip, without


class Grid(NamedTuple):
    """Where a scanner looks."""

    shape: Shape
    affine: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """In mm."""
        return self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]

    def finer(self, n: int) -> Grid:
        """The same box in voxels of an nth of the size."""
        i, j, k = self.shape
        split = np.diag([1 / n, 1 / n, 1 / n, 1.0])
        split[:3, 3] = (1 / n - 1) / 2
        return Grid((n * i, n * j, n * k), self.affine @ split)


class Anatomy(NamedTuple):
    """What it finds there."""

    labels: Volume
    lesions: Volume | None  # soft maps, if anything grew
    scan: Volume | None = None  # the real T1 of this head, where a T1 is to be that one


class Head:
    """Anatomy as the draws of a sample say; each voxel of any grid is interpolated once.

    Parameters
    ----------
    labels : Volume
        The map, before it is deformed.
    lesions : Volume or None
        Masks of patients in the same place, one bit each.
    recipe : draws of deform, strip and pathology
    scan : Volume, optional
        The real T1 of that head.
    """

    def __init__(self, labels: Volume, lesions: Volume | None, recipe: Draw, scan: Volume | None = None) -> None:
        self.scan = scan
        self.labels, self.mirrored, self.strip = labels, recipe["deform"]["mirror"], recipe["strip"] | {"bites": []}
        self.bites = recipe["strip"]["bites"]
        self.place = placement(labels, **recipe["deform"])
        self.grid, self.lesions = Grid(self.place.shape, self.place.affine), None
        ill = recipe["pathology"]
        masks = lesions if ill["carried"] is not None else None
        if ill["grown"] or masks:
            masks = masks and pull(masks, self.source, self.place.affine, mode="nearest")
            self.lesions, push = grow(self._whole, **ill, masks=masks)
            if push is not None:
                self.place = self.place.pushed(push)
                del self.source, self._whole

    @cached_property
    def source(self) -> Tensor:
        """Where each voxel of the grid of the sample comes from, (3, I, J, K), mm."""
        return self.place.source()

    @cached_property
    def _whole(self) -> Volume:
        """Labels on that grid, before anything is taken off."""
        return self._labels(self.source, self.place.affine)

    @cached_property
    def reference(self) -> Anatomy:
        """On the grid of the sample; whole, for a target, whatever skull stripping bit off."""
        scan = self.scan and pull(self.scan, self.source, self.grid.affine, mode="bilinear")
        return _stripped(self._whole, self.lesions, scan, self.strip)

    @cached_property
    def found(self) -> Anatomy:
        """On the grid of the sample, as the first scan shows it."""
        return _bitten(self.reference, self._balls)

    @cached_property
    def _balls(self) -> list[Ball]:
        """What the mask of the brain lacks, in the same place in each scan."""
        return balls(self.reference.labels, self.bites) if self.bites else []

    def seen(self, grid: Grid, back: np.ndarray) -> Anatomy:
        """On the grid of a scanner in which the head has moved.

        Parameters
        ----------
        grid : Grid
        back : (4, 4) array
            From mm in that scanner to mm in the head.
        """
        at = transformed(positions(grid.shape, grid.affine, self.labels.data.device), back)
        lesions = self.lesions and pull(self.lesions, at, grid.affine, mode="bilinear")
        source = self.place.source(at)
        scan = self.scan and pull(self.scan, source, grid.affine, mode="bilinear")
        moved = np.linalg.inv(back)
        gone = [Ball(moved[:3, :3] @ ball.centre + moved[:3, 3], ball.radius) for ball in self._balls]
        return _bitten(_stripped(self._labels(source, grid.affine), lesions, scan, self.strip), gone)

    def _labels(self, source: Tensor, affine: np.ndarray) -> Volume:
        labels = pull(self.labels, source, affine, mode="nearest")
        return labels.with_data(swap_sides(labels.data)) if self.mirrored else labels


def _stripped(labels: Volume, lesions: Volume | None, scan: Volume | None, draw: Draw) -> Anatomy:
    scan = scan and scan.with_data(scan.data.clamp(min=0))
    return _left(Anatomy(labels, lesions, scan), strip(labels, **draw))


def _bitten(anatomy: Anatomy, gone: list[Ball]) -> Anatomy:
    return _left(anatomy, without(anatomy.labels, gone)) if gone else anatomy


def _left(anatomy: Anatomy, labels: Volume) -> Anatomy:
    """What is taken off takes its lesions and its real brightness along."""
    lesions, scan = anatomy.lesions, anatomy.scan
    if lesions and labels is not anatomy.labels:
        lesions = lesions.with_data(lesions.data * (labels.data > 0))
    return Anatomy(labels, lesions, scan and scan.with_data(scan.data * (labels.data > 0)))
