"""How often each disease is met, and how large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from ..step import Counts, Draw, LogRange, Range, Share, Step, seed
from .bleeding import radius_of
from .carried import PATIENTS
from .grow import pathology
from .stroke import ATROPHY, SWELLING

YIELDS = 0.5  # of the radius: no mass pushes the tissue at its border further


@dataclass(frozen=True, kw_only=True)
class Pathology(Step):
    """From healthy to gravely ill; healthy unless a share says otherwise.

    Each share is that of all heads, whatever else they have.
    """

    carried: Share = 0.0  # share with the lesions of a real patient, where the head has masks
    sclerosis: Share = 0.0  # share with multiple sclerosis
    sclerosis_load: LogRange = (0.3, 30.0)  # mL, uniform in its logarithm
    sclerosis_size: Range = (3.0, 9.0)  # mm, width of a lesion
    lacunes: Share = 0.0  # share with small infarcts
    lacunes_count: Counts = (1, 6)
    lacunes_size: Range = (3.0, 12.0)  # mm
    stroke: Share = 0.0  # share with an infarct of a territory
    stroke_size: Range = (25.0, 80.0)  # mm
    tumour: Share = 0.0  # share with a tumour
    tumour_size: Range = (12.0, 50.0)  # mm
    tumour_solid: Share = 0.35  # share of tumours without necrosis and rim
    tumour_rim: Range = (1.5, 5.0)  # mm
    tumour_oedema: Range = (0.0, 22.0)  # mm
    tumour_push: Range = (0.0, 8.0)  # mm
    haemorrhage: Share = 0.0  # share with bleeding into the brain
    haemorrhage_volume: LogRange = (0.5, 50.0)  # mL, uniform in its logarithm
    resection: Share = 0.0  # share with a resection cavity
    resection_size: Range = (15.0, 55.0)  # mm
    rough: Range = (0.08, 0.3)  # share of the radius: irregularity of borders
    fade: Range = (1.0, 8.0)  # mm: how softly lesions pass into what is healthy

    effect = staticmethod(pathology)

    def draw(self, rng: Random) -> Draw:
        patient = rng.randrange(PATIENTS)
        ill = {
            "sclerosis": self._sclerosis, "lacunes": self._lacunes, "stroke": self._stroke, "tumour": self._tumour,
            "haemorrhage": self._haemorrhage, "resection": self._resection,
        }  # fmt: skip
        carried = rng.random() < self.carried
        grown = [{"kind": kind} | make(rng) for kind, make in ill.items() if rng.random() < getattr(self, kind)]
        return {"grown": grown, "carried": patient if carried else None}

    def _sclerosis(self, rng: Random) -> dict[str, Any]:
        return {
            "load": _between(rng, self.sclerosis_load),
            "size": list(self.sclerosis_size),
            "fade": rng.uniform(*self.fade) / 2,
            "hole": rng.choice([0.0, rng.random()]),
            "seed": seed(rng),
        }

    def _lacunes(self, rng: Random) -> dict[str, Any]:
        count = rng.randint(*self.lacunes_count)
        return {"count": count, "size": list(self.lacunes_size), "age": rng.random(), "seed": seed(rng)}

    def _stroke(self, rng: Random) -> dict[str, Any]:
        age, size = rng.random(), rng.uniform(*self.stroke_size)
        push = size / 2 * (-ATROPHY * age if age >= 0.3 else SWELLING)
        rest = self._shape(rng) | {"fade": rng.uniform(*self.fade) / 2}
        return _placed(rng, "cortex", size / 2, push) | rest | {"size": size, "age": age}

    def _tumour(self, rng: Random) -> dict[str, Any]:
        size, solid = rng.uniform(*self.tumour_size), rng.random() < self.tumour_solid
        home = rng.choice(["white", "lobar", "lobar", "deep"])
        push = min(rng.uniform(*self.tumour_push), YIELDS * size / 2)
        return _placed(rng, home, size / 2, push) | self._shape(rng) | {
            "size": size,
            "rim": 0.0 if solid else min(rng.uniform(*self.tumour_rim), size / 4),
            "oedema": rng.uniform(*self.tumour_oedema),
            "fade": rng.uniform(*self.fade),
        }  # fmt: skip

    def _haemorrhage(self, rng: Random) -> dict[str, Any]:
        volume = _between(rng, self.haemorrhage_volume)
        radius = radius_of(volume)
        home = rng.choice(["deep", "deep", "lobar"])
        return _placed(rng, home, radius, radius * rng.uniform(0.1, 0.4)) | self._shape(rng) | {
            "volume": volume,
            "oedema": rng.uniform(0, 0.5) * radius,
            "fade": rng.uniform(*self.fade),
        }  # fmt: skip

    def _resection(self, rng: Random) -> dict[str, Any]:
        size = rng.uniform(*self.resection_size)
        return _placed(rng, "cortex", size / 2, 0.0) | self._shape(rng) | {
            "size": size,
            "gliosis": rng.uniform(1, 5),
        }  # fmt: skip

    def _shape(self, rng: Random) -> dict[str, Any]:
        stretch = [rng.uniform(0.75, 1.35) for _ in range(3)]
        return {"stretch": stretch, "rough": rng.uniform(*self.rough), "seed": seed(rng)}


def _placed(rng: Random, home: str, radius: float, push: float) -> dict[str, Any]:
    return {"home": home, "place": rng.random(), "radius": radius, "push": push}


def _between(rng: Random, bounds: Range) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))
