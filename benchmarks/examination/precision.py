"""Part 5: how far is the T1 of bf16, and that of weights in half precision, from that of float32?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

from torch import Tensor

from isomorph.evaluate.brain import rough_brain_mask
from isomorph.evaluate.thin import thicken
from isomorph.predict import synthesise
from isomorph.volume import Volume

from .heads import head, scan
from .sheet import WHITE, Candidate, Case, Cases, Row, Work
from .thin import truth_of

PART = "precision"
SCANS = ("sub-61, 5 mm coronal", "painted FLAIR, 5 mm axial")
SAID = {"bf16": "bf16 against fp32", "half": "weights of float16 against float32"}


def cases(who: Candidate) -> Iterator[tuple[str, Work]]:
    for name in SCANS:
        yield name, partial(examined, who, name)


def _scan(who: Candidate, name: str) -> Volume:
    if name == SCANS[0]:
        return thicken(truth_of(who.data / "t1/sub-61_T1w.nii.gz"), axis=1, spacing=5.0, thickness=3.0)
    return scan(head(who.data, "precision", 0), "FLAIR", 2, 5.0, Random(0))


def examined(who: Candidate, name: str) -> Case:
    """Differences in the brain; not flipped, as a mean of two would hide some."""
    acquired = _scan(who, name)
    exact = synthesise(acquired, who.model, precision="fp32", flip=False).volume
    brain = rough_brain_mask(exact)
    fast = synthesise(acquired, who.model, precision="bf16", flip=False).volume
    case: Case = {"bf16": _apart(fast, exact, brain)}
    if who.full:
        full = synthesise(acquired, who.full, precision="fp32", flip=False).volume
        case["half"] = _apart(exact, full, brain)
    return case


def _apart(a: Volume, b: Volume, mask: Tensor) -> dict[str, float]:
    """In % of white matter."""
    away = (a.data[0] - b.data[0]).abs()[mask] * (100 / WHITE)
    most = away.kthvalue(max(1, round(0.999 * away.numel()))).values
    return {"mean": float(away.mean()), "0.999": float(most), "max": float(away.max())}


def rows(found: Cases) -> list[Row]:
    lines = []
    for name, case in found.items():
        for kind, away in case.items():
            said = f"{away['mean']:.3f}, {away['0.999']:.2f}, {away['max']:.2f}"
            measure = f"{SAID[kind]}: % of white matter, mean, 99.9th percentile, largest"
            lines.append(Row(PART, name, 1, measure, said, "", "within 0.5"))
    return lines
