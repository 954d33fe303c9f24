"""Part 4: half of the heads have lost a part of its hippocampi. Do volumes tell which?

Each head is scanned as a FLAIR of 5 mm axial slices and as a T1 of 5 mm coronal ones; the true volume is that of the
deformed label map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from random import Random

from isomorph.evaluate.statistics import auroc, correlation, relative_error
from isomorph.volume import Volume

from .heads import MAPS, Painted, head, scan
from .sheet import Candidate, Case, Cases, Row, Work, mean, true_volumes, volumes

PART = "hippocampal atrophy"
ITSELF = "target"  # the painted T1 that every answer should be: what the segmentation network alone gets wrong
SCANS = {"FLAIR": "FLAIR, 5 mm axial", "T1": "T1, 5 mm coronal", ITSELF: "painted T1 itself, 1 mm"}
AXES = {"FLAIR": 2, "T1": 1}
SPACING = 5.0  # mm
NATURAL = (0.0, 0.2)  # of the hippocampi, by volume: what healthy people differ by, beyond what deformation gives
LOST = (0.1, 0.2)  # of what is then left, in the ill
WHAT = "hippocampus"


def cases(who: Candidate) -> Iterator[tuple[str, Work]]:
    for k in range(who.patients):
        for contrast in SCANS:
            yield f"{k}/{contrast}", partial(examined, who, k, contrast)


def examined(who: Candidate, k: int, contrast: str) -> Case:
    """Measured and true volumes of one scan; the heads of each map are ill in turn."""
    ill = bool(k // len(MAPS) % 2)
    patient = head(who.data, PART, k, lost=_lost(k, ill=ill))
    found = who.parts_of(patient.target if contrast == ITSELF else _synthetic(who, patient, k, contrast))
    case: Case = {"map": patient.name, "ill": ill, "lost": _lost(k, ill=ill)}
    return case | {"measured": volumes(found), "true": true_volumes(patient.labels)}


def _lost(k: int, *, ill: bool) -> float:
    """Share of the hippocampi that is missing."""
    rng = Random(f"lost/{k}")
    natural, more = rng.uniform(*NATURAL), rng.uniform(*LOST)
    return 1 - (1 - natural) * (1 - ill * more)


def _synthetic(who: Candidate, patient: Painted, k: int, contrast: str) -> Volume:
    return who.t1(scan(patient, contrast, AXES[contrast], SPACING, Random(f"atrophy/{k}/{contrast}"))).volume


def rows(found: Cases) -> list[Row]:
    groups = {key: [case for k, case in found.items() if k.endswith(f"/{key}")] for key in SCANS}
    return [row for key, group in groups.items() if group for row in _rows(key, group)]


def _rows(contrast: str, group: list[Case]) -> Iterator[Row]:
    scans, n = SCANS[contrast], len(group)
    wanted = "at least 0.80" if contrast == "FLAIR" else ""
    ours, truth = (_sizes(group, which) for which in ("measured", "true"))
    error, close = 100 * relative_error(ours, truth), correlation(ours, truth)
    yield Row(PART, scans, n, f"{WHAT}: volume error (%)", f"{error:.1f}")
    yield Row(PART, scans, n, f"{WHAT}: correlation with the true volume", f"{close:.3f}", "", wanted)
    close = correlation(_within(group, ours), _within(group, truth))
    yield Row(PART, scans, n, f"{WHAT}: the same, among heads of one map", f"{close:.3f}")
    ours, truth = (_within(group, _sizes(group, which, share=True)) for which in ("measured", "true"))
    measure = f"{WHAT} as a share of the brain, among heads of one map"
    yield Row(PART, scans, n, f"{measure}: correlation", f"{correlation(ours, truth):.3f}")
    if len({case["ill"] for case in group}) == 2:
        reached, possible = (f"{auroc(*_split(group, values)):.3f}" for values in (ours, truth))
        yield Row(PART, scans, n, f"{measure}: AUROC of atrophy", reached, f"true volumes {possible}")


def _sizes(group: Sequence[Case], which: str, *, share: bool = False) -> list[float]:
    return [case[which][WHAT] / (case[which]["brain"] if share else 1.0) for case in group]


def _within(group: Sequence[Case], values: Sequence[float]) -> list[float]:
    """Relative to the mean of all heads of the same map: three maps differ more than disease makes them differ, and a
    measurement that knew nothing but the map would do well."""
    pairs = list(zip((case["map"] for case in group), values, strict=True))
    means = {name: mean([v for other, v in pairs if other == name]) for name, _ in pairs}
    return [value / means[name] for name, value in pairs]


def _split(group: Sequence[Case], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Of the ill, and of the healthy."""
    pairs = list(zip(group, values, strict=True))
    return [v for case, v in pairs if case["ill"]], [v for case, v in pairs if not case["ill"]]
