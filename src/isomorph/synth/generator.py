"""The recipe: label map in, training pair out. A play in three acts: deform, paint, corrupt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..labels import LESION, TISSUES
from ..space import pooled, reliability
from ..volume import Volume
from .channel import Channel, Scan
from .contrasts import CONTRAST_TABLES, TARGET, target_means
from .coordinates import pull
from .deform import Deform
from .head import Grid, Head
from .mixture import blend, paint
from .pathology import Pathology
from .step import Draw, Share, bounded
from .strip import Strip

SILENT: dict[str, float] = dict.fromkeys(TISSUES, 0.0)


class Sample(NamedTuple):
    """A training pair and the story of how it was made."""

    image: Volume  # what the scanners would have given, normalised; then, if wanted, how reliable each channel is
    target: Volume  # what to predict from it: the 1 mm T1, white matter at 1, or a clean channel
    labels: Volume
    recipe: Draw  # deform, strip, pathology, kept, own, and for each channel contrast, corruptions, motion


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Turn anatomy into clinical scans of random contrast and quality, and the image that should be made of them."""

    deform: Deform = Deform()
    strip: Strip = Strip()
    pathology: Pathology = Pathology()
    channels: tuple[Channel, ...] = (Channel(),)  # the first is the reference
    target: str | int = TARGET  # a table of contrasts, or the number of a channel: that one, clean
    reliability: bool = False  # one more input for each channel: where it was measured
    own: Share = 0.0  # share of samples of a head with a real T1 in which a T1-weighted scan is that T1, not painted
    dropout: Share = 0.0  # share of samples of which a random subset of the channels is there
    leads: bool = False  # the reference is in each subset
    lesions_in_target: bool = False  # else the target is painted as if they had healed
    lesions_in_labels: bool = False  # what is mostly lesion bears the number of one; else that of what was there before

    def __post_init__(self) -> None:
        bounded("own", "Share", self.own)
        bounded("dropout", "Share", self.dropout)
        if isinstance(self.target, str) and self.target not in CONTRAST_TABLES:
            raise ValueError(
                f"no contrast called {self.target!r} to be the target; choose from {list(CONTRAST_TABLES)}"
            )
        if isinstance(self.target, int) and not 0 <= self.target < len(self.channels):
            raise ValueError(f"target is channel {self.target}, and there are {len(self.channels)}, counted from 0")

    def __call__(self, labels: Volume, target: Volume | None, seed: int, lesions: Volume | None = None) -> Sample:
        """Draw a recipe, then follow it.

        Parameters
        ----------
        labels : Volume
            Numbers of `isomorph.labels`, axes along R, A, S.
        target : Volume or None
            The real T1 of that head, white matter at 1; painted from the labels where there is none.
        seed : int
        lesions : Volume, optional
            Masks of patients in the place of `labels`, bit k for patient k.
        """
        return self.replay(labels, target, self.draw(Random(seed)), lesions)

    def draw(self, rng: Random) -> Draw:
        """All numbers of one sample, as JSON."""
        recipe: Draw = {
            "deform": self.deform.draw(rng),
            "strip": self.strip.draw(rng),
            "channels": [channel.draw(rng, moves=k > 0) for k, channel in enumerate(self.channels)],
            "kept": self._kept(rng),
            "pathology": self.pathology.draw(rng),
            "own": rng.random() < self.own,
        }
        if self.leads and all(channel == self.channels[0] for channel in self.channels):
            self._thinnest_first(recipe)
        return recipe

    def _thinnest_first(self, recipe: Draw) -> None:
        """As prediction chooses the reference; it is the one that does not move."""
        scans = recipe["channels"]
        there = [k for k, kept in enumerate(recipe["kept"]) if kept]
        first = min(there, key=lambda k: max(self.channels[k].spacing(scans[k])))
        scans[0], scans[first] = scans[first] | {"motion": None}, scans[0] | {"motion": scans[first]["motion"]}

    def replay(self, labels: Volume, target: Volume | None, recipe: Draw, lesions: Volume | None = None) -> Sample:
        """Follow a recipe: the same recipe always gives the same sample."""
        # Act one: anatomy. Labels, masks and target share one field and one interpolation.
        head = Head(labels, lesions, recipe, target if recipe["own"] else None)
        # Acts two and three: the contrast of each channel, and its acquisition.
        plan = zip(self.channels, recipe["channels"], recipe["kept"], strict=True)
        scans = {
            k: channel.acquire(head, draw, clean=k == self.target)
            for k, (channel, draw, kept) in enumerate(plan)
            if kept or k == self.target
        }
        kept = [scans[k] if there else None for k, there in enumerate(recipe["kept"])]
        return Sample(self._image(kept, head), self._truth(scans, target, head), self._labels(head), recipe)

    def _kept(self, rng: Random) -> list[bool]:
        """Which channels are there: all; or any subset but none, each as likely, or any with the reference."""
        n = len(self.channels)
        subset = rng.randrange(1, 1 << n, 2 if self.leads else 1) if rng.random() < self.dropout else -1
        return [bool(subset >> k & 1) for k in range(n)]

    def _image(self, scans: list[Scan | None], head: Head) -> Volume:
        """All channels, then the reliability of all; zero where a scan is missing."""
        empty = head.reference.labels.data.new_zeros(1, *head.grid.shape)
        data = [scan.image.data if scan else empty for scan in scans]
        if self.reliability:
            data += [_told(scan, head.grid) if scan else empty for scan in scans]
        return Volume(torch.cat(data), head.grid.affine)

    def _labels(self, head: Head) -> Volume:
        labels, lesions, _ = head.reference
        if not self.lesions_in_labels or lesions is None:
            return labels
        return labels.with_data(labels.data.masked_fill(lesions.data.sum(0, keepdim=True) > 0.5, LESION))

    def _truth(self, scans: dict[int, Scan], target: Volume | None, head: Head) -> Volume:
        """A clean channel; or the real image; or the same anatomy as an MP-RAGE."""
        if isinstance(self.target, int):
            clean = scans[self.target].clean
            assert clean
            return clean
        labels, lesions, _ = head.reference
        ill = lesions if self.lesions_in_target else None
        means = target_means(self.target, ill=self.lesions_in_target)
        if target is None or self.target != TARGET:
            return paint(labels, means=means, stds=SILENT, seed=0, lesions=ill)
        real = pull(target, head.source, head.grid.affine, mode="bilinear")
        real = real.with_data(real.data * (labels.data > 0))  # a stripped scan asks for a stripped T1
        return blend(real, ill, means) if ill else real


def _told(scan: Scan, grid: Grid) -> Tensor:
    """(1, I, J, K): where a scan was measured, as a network that works on this grid will be told in prediction."""
    spacing = float(np.linalg.norm(grid.affine[:3, 0]))
    n = round(spacing) if spacing > 1 and math.isclose(spacing, round(spacing), abs_tol=1e-3) else 1
    return pooled(reliability(*scan.measured, *grid.finer(n), scan.image.data.device)[None], n)
