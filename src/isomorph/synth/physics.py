"""Contrast as scanners make it: relaxation times and a pulse sequence, not a table of brightness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from ..labels import LESION_TISSUES, TISSUES
from ..volume import Volume
from .mixture import SURFACE, paint
from .relaxation import TESLA, Times, times
from .signal import inversion, mprage, null, phase_sensitive, spin_echo, spoiled_echo
from .step import Draw, LogRange, Range, Step, seed

OUTSIDE = ("air", "artery", "vein", "skin", "soft", "muscle", "mucosa", "bone", "marrow", "eye", "nerve")
BRAIN = tuple(t for t in TISSUES if t not in (*OUTSIDE, *LESION_TISSUES, "choroid"))


class Protocol(NamedTuple):
    """A pulse sequence and its usual timing, in ms and degrees."""

    signal: Callable[..., float]
    timing: dict[str, Range]


# 1.5 and 3 T, then the portable scanner of 64 mT (fast spin echo throughout, doi:10.1001/jamaneurol.2020.3263; echo
# times approximate). Its T1 images show dark fluid at an inversion time at which fluid is still inverted, hence the
# sensitivity to phase. "null" stands for "ti": a factor on the time at which fluid vanishes, as a FLAIR is set up.
PROTOCOLS = {
    "mprage": Protocol(
        mprage,
        {
            "tr": (1800, 2600),
            "te": (2, 5),
            "ti": (800, 1100),
            "flip": (7, 12),
            "echoes": (140, 190),
            "spacing": (6.5, 8),
        },
    ),
    "spgr": Protocol(spoiled_echo, {"tr": (8, 40), "te": (2, 8), "flip": (12, 35)}),
    "t1": Protocol(spin_echo, {"tr": (400, 700), "te": (8, 18)}),
    "t2": Protocol(spin_echo, {"tr": (2500, 6500), "te": (80, 125)}),
    "pd": Protocol(spin_echo, {"tr": (2000, 4000), "te": (10, 35)}),
    "flair": Protocol(inversion, {"tr": (6000, 11000), "te": (85, 140), "null": (0.92, 1.08)}),
    "t1_flair": Protocol(phase_sensitive, {"tr": (1800, 2800), "te": (8, 25), "ti": (700, 1000)}),
    "t2_star": Protocol(spoiled_echo, {"tr": (450, 900), "te": (15, 28), "flip": (15, 25)}),
    "swoop_t1": Protocol(phase_sensitive, {"tr": (1350, 1650), "te": (5, 7), "ti": (260, 340)}),
    "swoop_t2": Protocol(spin_echo, {"tr": (1800, 2300), "te": (110, 235)}),
    "swoop_flair": Protocol(inversion, {"tr": (3600, 4400), "te": (110, 230), "null": (0.9, 1.1)}),
}


def acquire(
    x: Volume,
    *,
    sequence: str,
    timing: Mapping[str, float],
    pd: Mapping[str, float],
    t1: Mapping[str, float],
    t2: Mapping[str, float],
    t2_star: Mapping[str, float],
    surface: float,
    texture: float,
    seed: int,
    lesions: Volume | None = None,
) -> Volume:
    """The signal of each tissue in a pulse sequence [1]_; the brightest tissue of the healthy brain has 1.

    Parameters
    ----------
    x : Volume
        Label map.
    sequence : one of `PROTOCOLS`
    timing : ms and degrees
        Arguments of its equation in `isomorph.synth.signal`.
    pd : tissue to share of the proton density of water
    t1, t2, t2_star : tissue to ms
    surface : factor
        For what lies under the surface coil: skin, fat, marrow.
    texture : share of the brightest tissue
        Standard deviation inside a tissue.
    seed : int
    lesions : Volume, optional
        As `isomorph.synth.mixture.paint` takes them.

    References
    ----------
    .. [1] Bernstein, King & Zhou, Handbook of MRI Pulse Sequences, 2004, doi:10.1016/B978-0-12-092861-3.X5000-6
    """
    equation = PROTOCOLS[sequence].signal
    means = {t: equation(Times(pd[t], t1[t], t2[t], t2_star[t]), **timing) for t in TISSUES}
    top = max(means[t] for t in BRAIN)
    means = {t: mean / top * (surface if t in SURFACE else 1.0) for t, mean in means.items()}
    stds = {t: texture * min(1.0, mean) for t, mean in means.items()}
    return paint(x, means=means, stds=stds, seed=seed, lesions=lesions)


@dataclass(frozen=True, kw_only=True)
class Physics(Step):
    """From T1 to T2*, at 1.5 and 3 T: only contrasts that a scanner can make."""

    sequences: tuple[str, ...] = ("mprage", "spgr", "t1", "t2", "pd", "flair", "t1_flair", "t2_star")
    weights: tuple[float, ...] = (2.0, 1.0, 2.0, 3.0, 1.0, 3.0, 0.5, 0.5)
    tesla: tuple[float, ...] = (1.5, 3.0)
    timing: dict[str, Range] = field(default_factory=dict)  # replaces ranges of all sequences, such as te; ms, degrees
    tissue: Range = (0.02, 0.08)  # standard deviation of the logarithm of T1, T2, T2* and proton density
    surface: LogRange = (0.5, 1.6)  # factor for what lies under the surface coil: skin, fat, marrow
    texture: Range = (0.0, 0.05)  # standard deviation inside a tissue, brightest tissue of the brain = 1

    effect = staticmethod(acquire)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.sequences) - PROTOCOLS.keys()):
            raise ValueError(f"no sequence called {unknown}; choose from {sorted(PROTOCOLS)}")
        if len(self.weights) != len(self.sequences):
            raise ValueError(f"{len(self.sequences)} sequences want as many weights, not {len(self.weights)}")
        if unknown := sorted(set(self.tesla) - set(TESLA)):
            raise ValueError(f"relaxation at {unknown} T is not known; choose from {TESLA}")

    def draw(self, rng: Random) -> Draw:
        tesla = rng.choice(self.tesla)
        spread = rng.uniform(*self.tissue)
        drawn = {t: [v * math.exp(rng.gauss(0, spread)) for v in times(t, tesla)] for t in TISSUES}
        sequence = rng.choices(self.sequences, self.weights)[0]
        ranges = PROTOCOLS[sequence].timing
        timing = {name: rng.uniform(*self.timing.get(name, bounds)) for name, bounds in ranges.items()}
        if "null" in timing:
            timing["ti"] = timing.pop("null") * null(times("fluid", tesla).t1, timing["tr"])
        return {
            "sequence": sequence,
            "timing": {name: round(value, 3) for name, value in timing.items()},
            "pd": {t: round(v[0], 3) for t, v in drawn.items()},
            "t1": {t: round(v[1]) for t, v in drawn.items()},
            "t2": {t: round(v[2], 1) for t, v in drawn.items()},
            "t2_star": {t: round(min(v[2:]), 1) for t, v in drawn.items()},
            "surface": math.exp(rng.uniform(*(math.log(factor) for factor in self.surface))),
            "texture": rng.uniform(*self.texture),
            "seed": seed(rng),
        }


@dataclass(frozen=True, kw_only=True)
class LowField(Physics):
    """The portable scanner at 64 mT: T1, T2 and FLAIR of soft contrast; noise and voxel size belong to the slices."""

    sequences: tuple[str, ...] = ("swoop_t1", "swoop_t2", "swoop_flair")
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    tesla: tuple[float, ...] = (0.064,)
    surface: LogRange = (0.4, 1.1)  # the coil is close to the brain too
    tissue: Range = (0.02, 0.05)
    texture: Range = (0.0, 0.08)
