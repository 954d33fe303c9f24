"""What the parts of the examination share: the model, results that are kept, rows of the table."""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from isomorph.evaluate.statistics import correlation, relative_error
from isomorph.labels import LABELS
from isomorph.place import place
from isomorph.predict import Result, Segmentation, segment, synthesise
from isomorph.structures import STRUCTURES, class_table
from isomorph.volume import Volume
from isomorph.weights import Model

MEASURED = ("hippocampus", "lateral ventricle", "thalamus", "putamen", "cortex", "white matter")  # left and right
SCORED = "PSNR (dB), SSIM, NCC"
WHITE = 110.0  # white matter of a T1
EDITION = 2  # raised when a case or the generator changes what is measured: results of another are not mixed in
HEADER = ("part", "scans", "n", "measure", "isomorph", "beside it", "wanted")
NAMES = {k: LABELS[number].name.removeprefix("left ") for k, number in enumerate(STRUCTURES) if number}

Case = dict[str, Any]  # what one case gave, as JSON
Cases = Mapping[str, Case]  # of one part
Work = Callable[[], Case]


class Row(NamedTuple):
    """A line of the table: what isomorph reached, what stands beside it, and what was wanted."""

    part: str
    scans: str
    n: int
    measure: str
    isomorph: str
    beside: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Candidate:
    """Who is examined, on what."""

    data: Path
    model: Model
    segmenter: Model
    flip: bool
    full: Model | None  # the same weights, not rounded to half precision
    people: int
    heads: int
    patients: int
    turned: int  # people whose T1 is made thick along all three axes
    contrasts: Sequence[str]  # as which painted heads are scanned

    def t1(self, scan: Volume, *, ct: bool = False) -> Result:
        return synthesise(scan, self.model, ct=ct, flip=self.flip)

    def parts_of(self, t1: Volume) -> Segmentation:
        """Not flipped: half the time, and the same for every T1."""
        return segment(t1, self.segmenter, flip=False)

    def volumes(self, t1: Volume) -> dict[str, float]:
        return volumes(self.parts_of(t1))


def volumes(found: Segmentation) -> dict[str, float]:
    """ml, both sides together, and of the whole brain."""
    both = {name: (found.volumes[f"left {name}"] + found.volumes[f"right {name}"]) / 1000 for name in MEASURED}
    return both | {"brain": found.brain / 1000}


def whole_volumes(found: Segmentation) -> dict[str, float]:
    """Of `volumes`, those of structures that the field of view does not cut."""
    cut = {name for name in MEASURED if {f"left {name}", f"right {name}"} & set(found.cut)}
    return {name: ml for name, ml in volumes(found).items() if name in MEASURED and name not in cut}


def true_volumes(labels: Volume) -> dict[str, float]:
    """The same, counted in a label map of 1 mm; the lateral ventricle holds its inferior horn and choroid plexus."""
    index = classes(labels.data[0])
    count = {name: float((index == k).sum()) / 1000 for k, name in NAMES.items()}
    fluid = ("lateral ventricle", "third ventricle", "fourth ventricle")
    return {name: count[name] for name in MEASURED} | {"brain": sum(count[n] for n in count if n not in fluid)}


def classes(labels: Tensor) -> Tensor:
    """Index of the structure of each voxel; -1 where it cannot be told."""
    return class_table(STRUCTURES)[labels.long()]


class Ledger:
    """Results of cases in a JSON file, written after each: an interrupted run goes on, and several may share a file."""

    def __init__(self, path: Path, about: Case) -> None:
        self.path, self.about = path, about
        self.cases = self._read()

    def _read(self) -> dict[str, Case]:
        there = json.loads(self.path.read_text()) if self.path.exists() else {"about": self.about, "cases": {}}
        if there.get("about") != self.about:
            raise SystemExit(f"{self.path} holds the results of another model or other settings; give another file.")
        return there["cases"]

    def keep(self, key: str, case: Case) -> None:
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.cases = self._read() | {key: case}
            place(self.path, json.dumps({"about": self.about, "cases": self.cases}, indent=1).encode())

    def of(self, part: str) -> dict[str, Case]:
        return {key.partition("/")[2]: case for key, case in self.cases.items() if key.startswith(f"{part}/")}


def run(plans: Mapping[str, Iterator[tuple[str, Work]]], ledger: Ledger, minutes: float) -> None:
    """One case of each part in turn, so that a run that is cut short has seen all of them."""
    end = time.monotonic() + 60 * minutes
    waiting = dict(plans)
    while waiting:
        for part, plan in list(waiting.items()):
            key, work = next(((k, w) for k, w in plan if f"{part}/{k}" not in ledger.cases), ("", None))
            if work is None:
                del waiting[part]
                continue
            if time.monotonic() > end:
                print(f"{minutes:g} minutes are over; the same command goes on from here.")
                return
            start, before = time.monotonic(), os.times()
            case = work()
            busy = os.times()
            ledger.keep(f"{part}/{key}", case)
            used = busy.user + busy.system - before.user - before.system
            print(f"{part}/{key}: {time.monotonic() - start:.0f} s, {used:.0f} s of a core", flush=True)


def mean(values: Sequence[float]) -> float:
    """A case that has no number makes the whole none: left out, it would count among those that are well."""
    return float(np.mean(values)) if len(values) else math.nan


def scores(group: Sequence[Mapping[str, float]]) -> str:
    """Means of one method over cases, as `SCORED` names them."""
    psnr, ssim, ncc = (mean([case[metric] for case in group]) for metric in ("psnr", "ssim", "ncc"))
    return f"{psnr:.1f}, {ssim:.3f}, {ncc:.3f}"


def volume_row(
    part: str, scans: str, name: str, pairs: Sequence[Case], truth: str, methods: tuple[str, str], wanted: str = ""
) -> Row:
    """Error in % and correlation of a structure; the first method is isomorph's, the other stands beside it."""
    said = []
    for method in methods:
        a, b = ([case[which][name] for case in pairs] for which in (method, truth))
        said.append(f"{100 * relative_error(a, b):.1f}, {correlation(a, b):.3f}")
    measure = f"{name}: volume error (%), correlation"
    return Row(part, scans, len(pairs), measure, *said, wanted)
