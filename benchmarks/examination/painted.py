"""Part 2: label maps held out, deformed, with lesions, painted as seven contrasts with slices of 1 to 9 mm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

import numpy as np
import torch

from isomorph.demo import cubic
from isomorph.evaluate import mae
from isomorph.evaluate.fit import compared
from isomorph.evaluate.statistics import dice
from isomorph.labels import brain_mask
from isomorph.space import onto

from .heads import CONTRASTS, FIELD, ILL, Painted, head, lesion_mask, scan, t1_of
from .sheet import (
    MEASURED,
    NAMES,
    SCORED,
    WHITE,
    Candidate,
    Case,
    Cases,
    Row,
    Work,
    classes,
    mean,
    scores,
    true_volumes,
    volume_row,
)
from .sheet import volumes as measured

PART = "painted heads"
SPACINGS = (1.0, 3.0, 5.0, 7.0, 9.0)  # mm
TWINS = ("T1", "T2", "FLAIR")  # contrasts in which the same head is scanned without its lesions, too
ITSELF = "target"  # the T1 that is wanted, segmented: what the segmentation network alone gets wrong
APART = ("64 mT", "T1 SE")  # of one voxel size, or added later: not in the means over contrasts
LEAST = 50  # voxels of a lesion: less says nothing


def cases(who: Candidate) -> Iterator[tuple[str, Work]]:
    for k in range(who.heads):
        yield f"{k}/{ITSELF}", partial(itself, who, k)
        for number, contrast in enumerate(CONTRASTS):
            if contrast not in who.contrasts:
                continue
            yield f"{k}/{contrast}", partial(examined, who, k, contrast, number)


def head_of(who: Candidate, k: int) -> Painted:
    """Each map meets each disease."""
    return head(who.data, PART, k, disease=list(ILL)[(k + k // len(ILL)) % len(ILL)])


def itself(who: Candidate, k: int) -> Case:
    """What would be measured in a perfect answer."""
    sick = head_of(who, k)
    found = who.parts_of(sick.target)
    case: Case = {"map": sick.name, "dice": overlaps(found.labels.data[0], sick.labels.data[0])}
    return case | {"volumes": {"measured": measured(found), "true": true_volumes(sick.labels)}}


def examined(who: Candidate, k: int, contrast: str, number: int) -> Case:
    """One scan of a head: spacing and axis change with head and contrast, so that all of them meet."""
    sick = head_of(who, k)
    spacing, axis = SPACINGS[(k + 2 * number) % len(SPACINGS)], 2 if contrast in ("CT", "64 mT") else (k + number) % 3
    seeds, ct = f"{k}/{contrast}", contrast == "CT"
    acquired = scan(sick, contrast, axis, spacing, Random(seeds))
    t1 = who.t1(acquired, ct=ct).volume
    truth, labels = (onto(x, t1.shape, t1.affine) for x in (sick.target, sick.labels))
    inside = brain_mask(labels.data[0])
    images = {"cubic": cubic(acquired, truth).data[0], "isomorph": t1.data[0]}
    found = who.parts_of(t1)
    case: Case = {"map": sick.name, "axis": axis, "spacing": FIELD[axis] if contrast == "64 mT" else spacing}
    case["scores"] = compared(images, truth.data[0], inside, data_range=WHITE)
    case["dice"] = overlaps(found.labels.data[0], labels.data[0])
    case["volumes"] = {"measured": measured(found), "true": true_volumes(sick.labels)}
    ill = onto(sick.labels.with_data(lesion_mask(sick)[None].float()), t1.shape, t1.affine).data[0] > 0
    if (ill & inside).sum() >= LEAST:
        twin = scan(sick, contrast, axis, spacing, Random(seeds), ill=False) if contrast in TWINS else None
        case["lesions"] = inpainting(sick, t1.data[0], ill & inside)
        if twin:
            case["lesions"]["healthy"] = mae(who.t1(twin).volume.data[0], truth.data[0], mask=ill & inside)
    return case


def inpainting(sick: Painted, t1: torch.Tensor, ill: torch.Tensor) -> Case:
    """Mean absolute error inside lesions: of what came out, and of a T1 that shows them, as a scanner would."""
    shape = tuple(t1.shape)
    truth, shown = (onto(x, shape, sick.target.affine).data[0] for x in (sick.target, t1_of(sick.labels, sick.lesions)))
    return {"voxels": int(ill.sum()), "isomorph": mae(t1, truth, mask=ill), "shown": mae(shown, truth, mask=ill)}


def overlaps(predicted: torch.Tensor, true: torch.Tensor) -> dict[str, float]:
    """Dice of each structure that is there, both sides together."""
    a, b = classes(predicted), classes(true)
    known = b >= 0
    return {name: dice(a == k, b == k, mask=known) for k, name in NAMES.items() if bool((b == k).any())}


def rows(found: Cases) -> list[Row]:
    lines = []
    for contrast in CONTRASTS:
        group = [case for key, case in found.items() if key.endswith(f"/{contrast}")]
        perfect = [found[f"{key.split('/')[0]}/{ITSELF}"] for key in found if key.endswith(f"/{contrast}")]
        lines += _of(contrast if contrast == "64 mT" else f"{contrast}, 1 to 9 mm", group, perfect)
    everything = [case for key, case in found.items() if key.partition("/")[2] not in (*APART, ITSELF)]
    seen = ", ".join(name for name in CONTRASTS if name not in APART and any(key.endswith(f"/{name}") for key in found))
    for mm in SPACINGS:
        group = [case for case in everything if case["spacing"] == mm]
        lines += [_scores(f"{mm:g} mm, {seen}", group)] if group else []
    return lines


def _of(scans: str, group: list[Case], perfect: list[Case]) -> list[Row]:
    """Beside what was measured in the T1s stands what is measured in the painted ones that they should be."""
    if not group:
        return []
    ours, best = (mean([mean(list(case["dice"].values())) for case in which]) for which in (group, perfect))
    measure = "Dice, mean of structures"
    lines = [_scores(scans, group), Row(PART, scans, len(group), measure, f"{ours:.3f}", f"painted T1 {best:.3f}")]
    pairs = [c["volumes"] | {"best": p["volumes"]["measured"]} for c, p in zip(group, perfect, strict=True)]
    for name in MEASURED:
        row = volume_row(PART, scans, name, pairs, "true", ("measured", "best"))
        lines.append(row._replace(beside=f"painted T1 {row.beside}"))
    return lines + _lesions(scans, [case["lesions"] for case in group if "lesions" in case])


def _scores(scans: str, group: list[Case]) -> Row:
    ours, theirs = (scores([case["scores"][which] for case in group]) for which in ("isomorph", "cubic"))
    return Row(PART, scans, len(group), SCORED, ours, f"cubic {theirs}")


def _lesions(scans: str, group: list[Case]) -> list[Row]:
    """Lesions counted by their voxels, not by heads: a large one says more."""
    if not group:
        return []
    weights = [case["voxels"] for case in group]
    ours, shown = (float(np.average([c[w] for c in group], weights=weights)) for w in ("isomorph", "shown"))
    beside = f"shown as they are {shown:.1f}"
    if all("healthy" in case for case in group):
        healthy = float(np.average([case["healthy"] for case in group], weights=weights))
        beside = f"same place without lesion {healthy:.1f}, {beside}"
    return [Row(PART, scans, len(group), "error inside lesions, white matter = 110", f"{ours:.1f}", beside)]
