"""Contrast from priors: how bright each tissue is, and how much that varies, as measured on scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ..labels import TISSUES
from .mixture import paint
from .step import Draw, Range, Step, seed

DISTRIBUTIONS = ("normal", "uniform")
TRIES = 1000
Pairs = dict[str, tuple[float, float]]

# A tissue without a prior is as bright as the one it is a part of, where a segmentation does not tell them apart.
PART_OF = {
    "cerebellar_cortex": "cortex", "cerebellar_white": "white", "hippocampus": "cortex", "amygdala": "cortex",
    "accumbens": "caudate", "caudate": "cortex", "putamen": "cortex", "thalamus": "white", "pallidum": "white",
    "ventral_dc": "white", "brainstem": "white", "nerve": "white", "choroid": "fluid", "eye": "fluid",
    "cavity": "fluid",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured(Step):
    """From scans as one protocol gives them to what lies several deviations around them.

    Each tissue has a prior for its mean and one for its standard deviation: the mean and deviation of a normal
    distribution, or the bounds of a uniform one; both cut off at zero [1]_. ``isomorph priors`` measures them.

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """

    distribution: str = "normal"  # or "uniform"
    means: Pairs = field(default_factory=dict)  # tissue to two numbers, any unit
    stds: Pairs = field(default_factory=dict)
    other: Range = (0.0, 1.0)  # mean of a tissue that has no prior, brightest mean of the priors = 1
    other_texture: Range = (0.0, 0.1)  # its standard deviation, the same unit

    effect = staticmethod(paint)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"no distribution called {self.distribution!r}; choose from {DISTRIBUTIONS}")
        for name, pairs in (("means", self.means), ("stds", self.stds)):
            if unknown := sorted(pairs.keys() - set(TISSUES)):
                raise ValueError(f"{name} holds {unknown}, which are no tissues; choose from {sorted(TISSUES)}")
            for tissue, (a, b) in pairs.items():
                _check(f"{name}.{tissue}", a, b, self.distribution)
        if self.means.keys() != self.stds.keys():
            odd = sorted(self.means.keys() ^ self.stds.keys())
            raise ValueError(f"{odd} have a prior in one of means and stds; give each tissue both")

    def draw(self, rng: Random) -> Draw:
        one = max((b if self.distribution == "uniform" else a for a, b in self.means.values()), default=0.0) or 1.0
        means = {t: sampled(rng, self.distribution, *pair) for t, pair in self.means.items()}
        stds = {t: sampled(rng, self.distribution, *self.stds[t]) for t in self.means}
        for tissue in TISSUES:
            like = self._like(tissue)
            if like:
                means[tissue], stds[tissue] = means[like], stds[like]
            elif tissue == "air":
                means[tissue] = stds[tissue] = 0.0
            else:
                means[tissue] = one * rng.uniform(*self.other)
                stds[tissue] = one * rng.uniform(*self.other_texture)
        return {"means": means, "stds": stds, "seed": seed(rng)}

    def _like(self, tissue: str) -> str:
        """The tissue that this one is as bright as, itself if it has a prior; or an empty string."""
        while tissue not in self.means:
            if tissue not in PART_OF:
                return ""
            tissue = PART_OF[tissue]
        return tissue


def sampled(rng: Random, distribution: str, a: float, b: float) -> float:
    """A number that is not negative: normal of mean `a` and deviation `b`, or uniform between them."""
    if distribution == "uniform":
        return rng.uniform(a, b)
    for _ in range(TRIES):
        if (value := rng.gauss(a, b)) >= 0:
            return value
    return 0.0


def _check(name: str, a: float, b: float, distribution: str) -> None:
    if distribution == "uniform" and not 0 <= a <= b:
        raise ValueError(f"{name} runs from {a} to {b}; give bounds from 0, the lower first")
    if distribution == "normal" and not (a >= 0 and b >= 0):
        raise ValueError(f"{name} has mean {a} and deviation {b}; neither may be negative")
