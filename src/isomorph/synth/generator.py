"""The recipe: label map in, training pair out. A play in three acts: deform, paint, corrupt."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from ..labels import TISSUES, swap_sides
from ..volume import Volume
from .anatomy import Strip
from .bias import Bias
from .contrasts import CONTRAST_TABLES, TARGET
from .deform import Deform, placement, pull
from .gamma import Gamma
from .mixture import Mixture, paint
from .slices import Slices
from .step import Draw, Step
from .window import Window

SILENT: dict[str, float] = dict.fromkeys(TISSUES, 0.0)


class Sample(NamedTuple):
    """A training pair and the story of how it was made."""

    image: Volume  # what the scanner would have given, normalised
    target: Volume  # the 1 mm T1 to predict, white matter at 1
    labels: Volume
    recipe: list[Draw]  # one draw per step, in order


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Turn anatomy into a clinical scan of random contrast and quality, and the T1 that should be made of it."""

    deform: Deform = Deform()
    strip: Strip = Strip()
    contrast: Step = Mixture()
    corruptions: tuple[Step, ...] = (Bias(), Gamma(), Slices(), Window())

    def __call__(self, labels: Volume, target: Volume | None, seed: int) -> Sample:
        """Draw a recipe, then follow it.

        Parameters
        ----------
        labels : Volume
            Numbers of `isomorph.labels`, axes along R, A, S.
        target : Volume or None
            The real T1 of that head, white matter at 1; painted from the labels where there is none.
        seed : int
        """
        rng = Random(seed)
        return self.replay(labels, target, [step.draw(rng) for step in self.steps])

    def replay(self, labels: Volume, target: Volume | None, recipe: list[Draw]) -> Sample:
        """Follow a recipe: the same recipe always gives the same sample."""
        deform, strip, contrast, *corruptions = recipe

        # Act one: anatomy. Labels and target share one field and one interpolation.
        world, affine = placement(labels, **deform)
        anatomy = pull(labels, world, affine, mode="nearest")
        if deform["mirror"]:
            anatomy = anatomy.with_data(swap_sides(anatomy.data))
        anatomy = self.strip.effect(anatomy, **strip)

        # Act two: contrast. The target is the real image, or the same anatomy as an MP-RAGE.
        if target is not None:
            truth = pull(target, world, affine, mode="bilinear")
        else:
            truth = paint(anatomy, means=CONTRAST_TABLES[TARGET], stds=SILENT, seed=0)
        image = self.contrast.effect(anatomy, **contrast)

        # Act three: acquisition.
        for step, draw in zip(self.corruptions, corruptions, strict=True):
            image = step.effect(image, **draw)
        return Sample(image, truth, anatomy, recipe)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything that happens, in order."""
        return (self.deform, self.strip, self.contrast, *self.corruptions)
