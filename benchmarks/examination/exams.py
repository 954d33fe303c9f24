"""Part 3: real exams. Do T1s made of three contrasts, and of two visits, agree?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from isomorph import io
from isomorph.align import aligned
from isomorph.evaluate import ncc
from isomorph.evaluate.brain import rough_brain_mask
from isomorph.evaluate.statistics import variation
from isomorph.space import resample
from isomorph.volume import Volume

from .sheet import MEASURED, Candidate, Case, Cases, Row, Work, mean, whole_volumes

PART = "real exams"
CONTRASTS = ("T1W", "T2W", "FLAIR")
PATIENTS = {"patient12": ("study1", "study2"), "patient01": ("study1",)}


def cases(who: Candidate) -> Iterator[tuple[str, Work]]:
    for patient, visits in PATIENTS.items():
        yield patient, partial(examined, who, patient, visits)


def examined(who: Candidate, patient: str, visits: tuple[str, ...]) -> Case:
    """Volumes of each T1, and the correlation of each two in the brain, aligned rigidly to the first."""
    folder, t1s, sizes = who.data / "real/ms", dict[str, Volume](), dict[str, dict[str, float]]()
    for visit in visits:
        for contrast in CONTRASTS:
            result = who.t1(io.load(folder / f"{patient}_{visit}_{contrast}.nii.gz"))
            t1s[f"{visit} {contrast}"] = result.volume
            sizes[f"{visit} {contrast}"] = whole_volumes(who.parts_of(result.volume))
    names = list(t1s)
    fixed = t1s[names[0]]
    still = {name: fixed if x is fixed else aligned(x, fixed) for name, x in t1s.items()}
    data = {name: resample(x, fixed.shape, fixed.affine).data[0] for name, x in still.items()}
    brain = rough_brain_mask(fixed)
    pairs = {
        f"{a}, {b}": ncc(data[a], data[b], mask=brain & (data[a] > 0) & (data[b] > 0))
        for a, b in combinations(names, 2)
        if a.split()[0] == b.split()[0] or a.split()[1] == b.split()[1]
    }
    return {"ncc": pairs, "volumes": sizes}


def rows(found: Cases) -> list[Row]:
    return [row for patient, case in found.items() for row in (*_days(patient, case), *_visits(patient, case))]


def _days(patient: str, case: Case) -> Iterator[Row]:
    for visit in PATIENTS[patient]:
        scans = f"{patient}, {visit}: T1, T2, FLAIR of one day"
        pairs = [v for k, v in case["ncc"].items() if k.count(visit) == 2]
        said = ", ".join(f"{value:.3f}" for value in pairs)
        yield Row(PART, scans, 3, "NCC of T1-T2, T1-FLAIR, T2-FLAIR, aligned", said, "", "at least 0.93")
        yield _variation(scans, [case["volumes"][f"{visit} {contrast}"] for contrast in CONTRASTS])


def _visits(patient: str, case: Case) -> Iterator[Row]:
    visits = PATIENTS[patient]
    for contrast in CONTRASTS if len(visits) > 1 else ():
        scans = f"{patient}: {contrast} of two visits"
        (value,) = (v for k, v in case["ncc"].items() if k.count(contrast) == 2)
        yield Row(PART, scans, 2, "NCC, aligned", f"{value:.3f}", "", "at least 0.95")
        yield _variation(scans, [case["volumes"][f"{visit} {contrast}"] for visit in visits])


def _variation(scans: str, volumes: list[dict[str, float]]) -> Row:
    seen = [name for name in MEASURED if all(name in v for v in volumes)]  # whole, in each scan
    each = {name: 100 * variation([v[name] for v in volumes]) for name in seen}
    said = f"{mean(list(each.values())):.1f} (" + ", ".join(f"{name} {value:.1f}" for name, value in each.items()) + ")"
    return Row(PART, scans, len(volumes), "volumes: coefficient of variation (%), mean and each", said, "", "within 5")
