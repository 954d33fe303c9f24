"""T1s that are there already, in files: the labels of each in a file, and its volumes in a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import io
from ..device import choose_device, choose_precision
from ..errors import Refusal
from ..heap import kept_memory, spared_memory
from ..nets.slabs import VALUES, thin_slabs
from ..space import canonical_grid, resample
from ..volume import Volume
from ..weights import load_model
from .batch import Listeners, Tell, run_jobs
from .intake import read_t1
from .memory import budget
from .options import Options
from .outcome import Outcome, Summary
from .outputs import outcome_of
from .plan import Inputs, Job, plan_t1s
from .provenance import NOTICE, SCHEMA, asked_for, circumstances, digested, named, status_of
from .quality import THRESHOLD, notice, quality
from .restore import WHITE_MATTER
from .segment import Segmentation, segmented, segments
from .table import add_row, begin_table, check_table

NO_T1 = Refusal("E505", "the image was made by isomorph and is no T1", "give the T1 itself")
WHITE = torch.tensor([2, 41])  # white matter of the cerebrum, both sides
MATTERS = ("flip", "precision", "strict", "grid", "max_memory")  # options without which the labels might be others
ASKED = (*MATTERS, "segmenter", "segmentation", "volumes", "device", "threads", "overwrite")


def segment_t1s(inputs: Inputs, options: Options, listeners: Listeners | None = None) -> Summary:
    """Name the structures of T1s and measure them, as `predict_scans` does for those that it makes.

    Parameters
    ----------
    inputs : paths of images or folders
        T1s, synthetic or real. Of what isomorph made in a folder, its T1s are taken and the rest is skipped.
    options : Options
        ``segmentation`` says where labels go: into a file for one T1, into a folder for several or for a folder.
    listeners : Listeners, optional

    Returns
    -------
    Summary
        As of `predict_scans`.

    Raises
    ------
    NothingFound, UsageError, SetupError
        Before anything is done.
    """
    return run_jobs(plan_t1s(inputs, options.segmentation or ""), _Naming(options), listeners)


@dataclass(frozen=True, eq=False)
class _Made:
    """What was found in a T1."""

    scan: io.Scan
    found: Segmentation
    value: float | None
    precision: str
    seconds: dict[str, float]
    fingerprint: str


class _Naming:
    """From a T1 to its labels."""

    passed_over = str(NO_T1)

    def __init__(self, options: Options) -> None:
        self.options, self.overwrite = options, options.overwrite

    def outputs(self, job: Job) -> Sequence[Path]:
        table = [Path(self.options.volumes)] if self.options.volumes else []
        return [job.target, *table]

    def check(self, job: Job) -> None:
        io.check_output(job.target, inputs=[job.source], overwrite=self.overwrite, root=job.root)

    def begin(self, jobs: Sequence[Job]) -> None:
        self.device = choose_device(self.options.device)
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        self.model = segments(load_model(self.options.segmenter))
        if self.options.volumes:
            begin_table(self.options.volumes, self.model)

    def done_before(self, job: Job) -> bool:
        said = io.sidecar(job.target)
        wanted = self.fingerprint(io.digest(job.source), _origin(job))
        done = said.get("fingerprint") == wanted and io.described(job.target, said)
        if done and self.options.volumes:  # a run may have been killed before the row was written
            add_row(self.options.volumes, job, said)
        return done

    def present(self, job: Job, refusal: Refusal) -> Refusal:
        return refusal

    def fingerprint(self, sha256: str, origin: dict[str, Any]) -> str:
        """What decides about the labels of a T1, and what is said of them: its JSON too."""
        facts = {"t1": sha256, "segmenter": self.model.sha256, "quality": origin.get("quality")}
        if seen := _seen(origin):
            facts["seen"] = [seen.shape, seen.affine.tolist()]
        return digested(facts | {name: getattr(self.options, name) for name in MATTERS})

    def compute(self, job: Job, tell: Tell | None) -> _Made:
        options, start = self.options, time.perf_counter()
        if options.max_memory is not None:  # before a voxel is read
            budget([io.outline(job.source)], self.model, options, segmenter=self.model)
        origin = _origin(job)
        scan = read_t1(job.source, options)
        seconds = {"read": round(time.perf_counter() - start, 4)}
        room = budget([(scan.volume.shape, scan.volume.affine)], self.model, options, loaded=True, segmenter=self.model)
        roomy = options.max_memory is None and room.values >= VALUES
        start, report = time.perf_counter(), (lambda share: tell("segmentation", share)) if tell else None
        how = replace(options, precision=room.precision)
        target = scan.volume if options.grid == "input" else None
        with thin_slabs(room.values), kept_memory() if roomy else spared_memory():
            found = segmented(scan.volume, self.model, how, scan=_seen(origin), target=target, progress=report)
        seconds["segmentation"] = round(time.perf_counter() - start, 4)
        value = origin["quality"]["value"] if "quality" in origin else round(_judged(scan.volume, found), 4)
        told = () if value is None else notice(value, given=True)
        found = replace(found, notices=(*told, *found.notices))
        used, mark = choose_precision(room.precision, self.device), self.fingerprint(scan.source["sha256"], origin)
        return _Made(scan, found, value, used, seconds, mark)

    def write(self, job: Job, made: _Made) -> Outcome:
        start, labels = time.perf_counter(), made.found.labels
        sidecar = self.about(job, made)
        if self.options.volumes:
            check_table(self.options.volumes, made.found.volumes)  # before anything is written
        output = io.Output(volume=labels, path=job.target, sidecar=sidecar, dtype="uint8", root=job.root)
        io.write_all([output], overwrite=self.overwrite, inputs=[job.source])
        if self.options.volumes:
            add_row(self.options.volumes, job, sidecar)
        return outcome_of(job, sidecar, made.seconds | {"write": round(time.perf_counter() - start, 4)})

    def about(self, job: Job, made: _Made) -> dict[str, Any]:
        """Content of the sidecar of the labels."""
        warnings = [asdict(n) for n in (*made.scan.warnings, *made.found.notices)]
        return {
            "schema": SCHEMA,
            "status": status_of(warnings),
            "synthetic": True,
            "contains_face": False,
            "notice": NOTICE,
            "warnings": warnings,
            "quality": {"value": made.value, "threshold": THRESHOLD},
            "input": {"file": job.name, **made.scan.source},
            "of": io.escape(job.source.name),
            **named(made.found),
            "options": {name: said for name, said in asked_for(self.options).items() if name in ASKED},
            **circumstances(str(self.device), made.precision, torch.get_num_threads(), made.seconds),
            "fingerprint": made.fingerprint,
        }

    def shown(self, made: _Made) -> tuple[Volume, Volume]:
        return made.scan.volume, made.found.labels

    def stored(self, job: Job) -> tuple[Volume, Volume]:
        return read_t1(job.source, self.options).volume, io.load(job.target, kind="image")


def _origin(job: Job) -> dict[str, Any]:
    """The sidecar of a T1 of ours; empty for any other, or if the image is not the one that it describes.

    Raises
    ------
    Refusal
        E505 it is an image of ours, and no T1.
    """
    said = io.sidecar(job.source)
    if said.get("tool") != "isomorph" or not io.described(job.source, said):
        return {}
    if said["output"].get("contrast") != "T1":
        raise NO_T1
    return said


def _seen(origin: dict[str, Any]) -> Volume | None:
    """In the place of the scan that a T1 was made of: its grid; what it has not seen is not to be counted."""
    try:
        i, j, k = origin["input"]["shape"][:3]
        return Volume(torch.zeros(1, 1, 1, 1).expand(1, i, j, k), np.array(origin["input"]["affine"]))
    except (KeyError, TypeError, ValueError):  # a real T1, or the JSON of another version
        return None


def _judged(volume: Volume, found: Segmentation) -> float:
    """The quality of a T1 of any scale: of white matter, which was found, the level is known."""
    fine = resample(volume, *canonical_grid(volume))
    labels = resample(found.labels, fine.shape, fine.affine, mode="nearest")  # wherever they lie
    white = fine.data[torch.isin(labels.data, WHITE)]
    if not len(white) or (level := float(white.median())) <= 0:
        return 0.0
    return quality(fine.with_data(fine.data * (WHITE_MATTER / level)), volume)
