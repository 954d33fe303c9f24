"""From anatomy to intensities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from ..labels import LESION_TISSUES, TISSUES, mixture
from ..profile import smooth
from ..volume import Volume
from .contrasts import CONTRAST_TABLES, T1S
from .step import Draw, LogRange, Range, Share, Step, randn, seed

SURFACE = ("skin", "soft", "marrow", "mucosa")
ENHANCED = ("artery", "vein", "choroid", "mucosa", "rim")  # gadolinium stays in vessels, where nothing lets it out
BLUR = 0.5  # voxels: label maps have hard edges, but tissues share voxels


def paint(
    x: Volume, *, means: Mapping[str, float], stds: Mapping[str, float], seed: int, lesions: Volume | None = None
) -> Volume:
    """One Gaussian per tissue; voxels at an edge are shared between tissues [1]_.

    Parameters
    ----------
    x : Volume
        Label map, numbers of `isomorph.labels`. A label that is a mixture of tissues takes their mixed brightness.
    means, stds : tissue to number, arbitrary units
        Brightness and texture of each of `isomorph.labels.TISSUES`.
    seed : int
    lesions : Volume or None
        Share of each voxel that is each of `isomorph.labels.LESION_TISSUES`, (L, I, J, K); the rest is healthy.

    References
    ----------
    .. [1] Billot et al., MIDL 2020, arXiv:2003.01995
    """
    labels, share = x.data.long(), mixture().to(x.data.device)
    ill = None if lesions is None else _ill(lesions)

    def shared(values: Mapping[str, float]) -> Tensor:
        y = (share @ torch.tensor([values[t] for t in TISSUES], device=share.device))[labels]
        return y if ill is None else _mixed(y, ill, values)

    mean = shared(means)
    if any(stds.values()):
        mean = mean + shared(stds) * randn(seed, *labels.shape, like=mean)
    for axis in range(3):
        mean = smooth(mean, BLUR, axis)
    return x.with_data(mean.clamp(min=0))


def blend(x: Volume, lesions: Volume, means: Mapping[str, float]) -> Volume:
    """The image of a healthy head, made ill: what was there, and of each diseased tissue its share.

    Parameters
    ----------
    x : Volume
    lesions : Volume
        As for `paint`.
    means : tissue to number, the unit of `x`
    """
    return x.with_data(_mixed(x.data.clone(), _ill(lesions), means))


def _mixed(y: Tensor, ill: tuple[Tensor, Tensor], values: Mapping[str, float]) -> Tensor:
    """Writes to `y`."""
    where, parts = ill
    sick = torch.tensor([values[t] for t in LESION_TISSUES], device=y.device) @ parts
    y.view(-1)[where] = y.view(-1)[where] * (1 - parts.sum(0)) + sick
    return y


def _ill(lesions: Volume) -> tuple[Tensor, Tensor]:
    """The few voxels that are not healthy, and how much of each is which tissue, (L, N)."""
    flat = lesions.data.flatten(1)
    where = torch.nonzero(flat.amax(0) > 0)[:, 0]
    return where, flat[:, where]


@dataclass(frozen=True, kw_only=True)
class Mixture(Step):
    """From the contrasts that hospitals use to contrasts that no scanner makes.

    A share `random` of the images has every tissue drawn independently; the others lie around one of the tables of
    `contrasts.py`, chosen with the given weights, each tissue displaced by a normal deviate.
    """

    random: Share = 0.3
    tables: tuple[str, ...] = ("T1", "T2", "FLAIR", "PD", "CT")
    weights: tuple[float, ...] = (3.0, 3.0, 3.0, 1.0, 0.5)
    spread: Range = (0.02, 0.12)  # standard deviation of the displacement, white matter of a T1 = 1
    surface: LogRange = (0.6, 2.0)  # factor for what lies under the surface coil: skin, fat, marrow
    texture: Range = (0.0, 0.06)  # standard deviation inside a tissue
    enhanced: Share = 0.0  # share of T1s, as MP-RAGE or spin echo, that are taken after contrast medium
    medium: Range = (0.9, 1.6)  # brightness of each tissue that it enhances
    black_air: Share = 0.5  # share of images whose background is exactly zero

    effect = staticmethod(paint)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.tables) - CONTRAST_TABLES.keys()):
            raise ValueError(f"no contrast called {unknown}; choose from {sorted(CONTRAST_TABLES)}")
        if len(self.weights) != len(self.tables):
            raise ValueError(f"{len(self.tables)} tables want as many weights, not {len(self.weights)}")

    def draw(self, rng: Random) -> Draw:
        if rng.random() < self.random:
            means = {t: rng.uniform(0.05, 1.0) for t in TISSUES}
            air = rng.uniform(0, 0.15)
        else:
            name = rng.choices(self.tables, self.weights)[0]
            spread = rng.uniform(*self.spread)
            means = {t: max(0.0, CONTRAST_TABLES[name][t] + rng.gauss(0, spread)) for t in TISSUES}
            air = rng.uniform(0, 0.03)
            near = math.exp(rng.uniform(*(math.log(factor) for factor in self.surface)))
            means |= {t: near * means[t] for t in SURFACE}
            if self.enhanced and name in T1S and rng.random() < self.enhanced:
                means |= {t: rng.uniform(*self.medium) for t in ENHANCED}
        means["air"] = 0.0 if rng.random() < self.black_air else air
        texture = rng.uniform(*self.texture)
        stds = {t: 0.0 if t == "air" else texture * rng.uniform(0.3, 1.5) for t in TISSUES}
        return {"means": means, "stds": stds, "seed": seed(rng)}
