"""Every tissue at random: contrasts that no scanner makes, so that a network cannot rely on any."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..labels import TISSUES
from .measured import DISTRIBUTIONS, sampled
from .mixture import paint
from .step import Draw, Range, Share, Step, seed


@dataclass(frozen=True, kw_only=True)
class Randomised(Step):
    """From flat grey to black and white: means and deviations of all tissues are independent [1]_.

    Defaults are those of the paper. Its code has means to 250 and deviations to 30; that of SynthSR 25 to 225 and 5 to
    25. The share of black and of dark backgrounds is that of its code, the paper has none.

    References
    ----------
    .. [1] Billot et al., MedIA 2023, doi:10.1016/j.media.2023.102789
    """

    distribution: str = "uniform"  # or "normal": around the middle of each range, half its width is the deviation
    means: Range = (0.0, 255.0)  # any unit
    stds: Range = (0.0, 35.0)
    black_air: Share = 0.05  # share of images whose background is exactly zero
    dark_air: Share = 0.25  # share whose background is nearly so

    effect = staticmethod(paint)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"no distribution called {self.distribution!r}; choose from {DISTRIBUTIONS}")

    def draw(self, rng: Random) -> Draw:
        means, stds = ({t: self._sample(rng, bounds) for t in TISSUES} for bounds in (self.means, self.stds))
        kind = rng.random()
        if kind < self.black_air:
            means["air"] = stds["air"] = 0.0
        elif kind < self.black_air + self.dark_air:
            means["air"], stds["air"] = (rng.uniform(0, share * self.means[1]) for share in (0.06, 0.02))
        return {"means": means, "stds": stds, "seed": seed(rng)}

    def _sample(self, rng: Random, bounds: Range) -> float:
        low, high = bounds
        pair = bounds if self.distribution == "uniform" else ((low + high) / 2, (high - low) / 2)
        return sampled(rng, self.distribution, *pair)
