"""Part 1: real T1s of people held out, made thick and synthesised back.

Slices 3, 5 and 7 mm apart, 3 mm thick, as in the 2021 paper (doi:10.1016/j.neuroimage.2021.118206), along each axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from isomorph import io
from isomorph.demo import cubic
from isomorph.evaluate.fit import compared
from isomorph.evaluate.thin import thicken
from isomorph.space import canonical_grid, onto, resample
from isomorph.train.brightness import bias_corrected
from isomorph.volume import Volume

from .sheet import MEASURED, SCORED, WHITE, Candidate, Case, Cases, Row, Work, scores, volume_row

PART = "thin T1s"
AXES = ("sagittal", "coronal", "axial")
SPACINGS, THICKNESS = (3.0, 5.0, 7.0), 3.0  # mm
VOLUMES = "coronal"  # axis along which volumes are compared, as in the paper
PEOPLE = tuple(range(61, 73))
# From Table 2 of the 2021 paper and what was wanted of this package.
WANTED_PSNR = {5.0: "3 dB above cubic", 7.0: "3 dB above cubic"}
WANTED_HIPPOCAMPUS = {5.0: "at most 4, at least 0.97", 7.0: "at most 5, at least 0.95"}


def truth_of(path: Path) -> Volume:
    """A stripped T1 of 1 mm, axes in RAS order, white matter (its upper mode) near 110: metrics have one scale."""
    scan = io.load(path)
    return _scaled(resample(scan, *canonical_grid(scan)))


@lru_cache(maxsize=1)
def truths_of(path: Path) -> dict[str, Volume]:
    """As it was scanned, and without the bias of the coil, which is what a synthetic T1 should be: the biased scan asks
    for a bias that no answer can know of, and a perfect answer falls behind interpolation, which keeps it."""
    scan = truth_of(path)
    corrected = torch.from_numpy(bias_corrected(scan.data[0].numpy()))[None]
    return {"as scanned": scan, "without bias": _scaled(scan.with_data(corrected))}


def _scaled(x: Volume) -> Volume:
    return x.with_data(x.data * float(WHITE / np.percentile(x.data[x.data > 0].numpy(), 85)))


def cases(who: Candidate) -> Iterator[tuple[str, Work]]:
    for number, k in enumerate(PEOPLE[: who.people]):
        name, path = f"sub-{k}", who.data / f"t1/sub-{k}_T1w.nii.gz"
        yield f"{name}/1 mm", partial(thin_volumes, who, path)
        for axis in (1, 0, 2) if number < who.turned else (1,):  # the coronal one always: volumes are compared on it
            for spacing in SPACINGS:
                sized = AXES[axis] == VOLUMES
                yield f"{name}/{AXES[axis]}/{spacing:g}", partial(thick, who, path, axis, spacing, sized=sized)
    yield "t1_0.8mm/coronal/5", partial(thick, who, who.data / "real/t1_0.8mm.nii.gz", 1, 5.0, sized=False)


def thin_volumes(who: Candidate, path: Path) -> Case:
    """Of the scan itself."""
    return {"1 mm": who.volumes(truth_of(path))}


def thick(who: Candidate, path: Path, axis: int, spacing: float, *, sized: bool) -> Case:
    """Scores against both truths, inside the brain; volumes of what came out and of the interpolated scan."""
    truths = truths_of(path)
    scan = thicken(truths["as scanned"], axis=axis, spacing=spacing, thickness=THICKNESS)
    t1 = who.t1(scan).volume
    case: Case = {}
    for name, whole in truths.items():
        truth = onto(whole, t1.shape, t1.affine)  # between its planes it would be as soft as what is interpolated
        images = {"cubic": cubic(scan, truth).data[0], "isomorph": t1.data[0]}
        case[name] = compared(images, truth.data[0], truth.data[0] > 5, data_range=WHITE)
    if sized:
        spline = cubic(scan, truths["as scanned"])  # splines overshoot where air begins
        case["volumes"] = {
            "isomorph": who.volumes(t1),
            "cubic": who.volumes(spline.with_data(spline.data.clamp(min=0))),
        }
    return case


def rows(found: Cases) -> list[Row]:
    return [*_scores(found), *_volumes(found)]


def _scores(found: Cases) -> Iterator[Row]:
    people = {key: case for key, case in found.items() if key.startswith("sub-")}
    groups = {(mm, f"{mm:g} mm {axis}"): f"{axis}/{mm:g}" for mm in SPACINGS for axis in AXES}
    groups[0.0, "0.8 mm T1 at 5 mm coronal"] = ""
    for (mm, scans), end in groups.items():
        sharp = [case for key, case in found.items() if key.startswith("t1_0.8mm")]
        group = [case for key, case in people.items() if key.endswith(end)] if end else sharp
        for truth in ("as scanned", "without bias") if group else ():
            ours, theirs = (scores([case[truth][which] for case in group]) for which in ("isomorph", "cubic"))
            row = Row(PART, scans, len(group), f"{SCORED}, truth {truth}", ours, f"cubic {theirs}")
            yield row._replace(wanted=WANTED_PSNR.get(mm, ""))


def _volumes(found: Cases) -> Iterator[Row]:
    thin = {key.partition("/")[0]: case["1 mm"] for key, case in found.items() if "1 mm" in case}
    for mm in SPACINGS:
        group = [
            {"1 mm": thin[key.partition("/")[0]], **case["volumes"]}
            for key, case in found.items()
            if key.endswith(f"{VOLUMES}/{mm:g}") and key.partition("/")[0] in thin
        ]
        for name in MEASURED if group else ():
            wanted = WANTED_HIPPOCAMPUS.get(mm, "") if name == "hippocampus" else ""
            row = volume_row(PART, f"{mm:g} mm {VOLUMES}", name, group, "1 mm", ("isomorph", "cubic"), wanted)
            yield row._replace(beside=f"cubic {row.beside}")
