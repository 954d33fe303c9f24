"""Scans in files, and a T1 of each in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import io
from ..align import loaded
from ..device import choose_device
from ..errors import Refusal, UsageError
from ..volume import Volume
from ..weights import Model, channels, interchangeable, load_model, read_card, sharpens, synthesises
from .batch import Listeners, Tell, run_jobs
from .channels import Unfit
from .find import finder_for
from .intake import outlines, read_exam, read_mask
from .memory import budget
from .options import OPTIONS, Options
from .outcome import Outcome, Summary
from .outputs import beside, check_outputs, outcome_of, write_outputs
from .plan import ENDING, OURS, SHARPENED, Job, plan
from .possible import possible, registers
from .provenance import done_before
from .segment import segmenter_for
from .synthesise import Result, synthesise
from .table import add_row, begin_table


def predict_scans(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: Options = OPTIONS,
    listeners: Listeners | None = None,
) -> Summary:
    """Synthesise a T1 for each scan, in files.

    Parameters
    ----------
    inputs : paths of images or folders
    output : path of an image, or of a folder
        See `plan`.
    options : Options
    listeners : Listeners, optional

    Returns
    -------
    Summary
        Also when interrupted, or when the disk is full: what was done is complete, the rest is untouched.

    Raises
    ------
    NothingFound, UsageError
        Before anything is done.
    SetupError
        Before anything is done: output not writable, no model, no device.
    """
    ending = SHARPENED if sharpens(read_card(options.chosen)) else ENDING
    return predict_jobs(plan(inputs, output, ending, exams=options.exams), options, listeners)


def predict_jobs(jobs: list[Job], options: Options = OPTIONS, listeners: Listeners | None = None) -> Summary:
    """As `predict_scans`, once it is planned which scan goes where.

    Parameters
    ----------
    jobs : list of Job
    options : Options
    listeners : Listeners, optional
    """
    if len(jobs) > 1 and (options.lesion_mask or options.uncertainty):
        raise UsageError(f"--lesion-mask and --uncertainty belong to one scan or exam, not to {len(jobs)}; run apart.")
    alone = sum(not job.ours for job in jobs) == 1
    return run_jobs(jobs, _Synthesis(options, alone=alone), listeners)


@dataclass(frozen=True, eq=False)
class _Made:
    """What was computed for a job."""

    scans: list[io.Scan | None]
    result: Result


class _Synthesis:
    """From scan or exam to T1, and what is asked for beside it."""

    passed_over = OURS

    def __init__(self, options: Options, *, alone: bool) -> None:
        self.options, self.overwrite, self.alone = options, options.overwrite, alone
        self.unfit: dict[Job, Refusal] = {}
        self.segmenter: Model | None = None
        self.finder: Model | None = None

    def outputs(self, job: Job) -> Sequence[Path]:
        table = [Path(self.options.volumes)] if self.options.volumes else []
        return [job.target, *beside(job, self.options).values(), *table]

    def check(self, job: Job) -> None:
        check_outputs(job, self.options)

    def begin(self, jobs: Sequence[Job]) -> None:
        options = self.options
        choose_device(options.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.model = synthesises(load_model(options.chosen), exam=any(job.exam for job in jobs))
        if options.exams and channels(self.model) > 1 and not interchangeable(self.model):
            said = f"{self.model.card['name']} takes the scans of an exam in an order, which --exams cannot know"
            raise UsageError(f"{said}; name the files of each exam, or choose a model of single scans.")
        self.segmenter = segmenter_for(options.segmenter if options.measured else False, self.model)
        if self.segmenter and options.volumes:
            begin_table(options.volumes, self.segmenter)
        for job in jobs:
            try:
                self.possible(job.exam or (job.source,))
            except Unfit as unfit:
                if self.alone:
                    raise UsageError(f"{job.name}: {unfit}") from None
                self.unfit[job] = Refusal("E906", unfit.reason, unfit.remedy)  # the other exams may well fit
        if len(jobs) > 1 and any(registers(job.exam, self.model, options) for job in jobs):
            loaded()  # broken, it would fail each exam
        self.finder = finder_for(options.lesions, given=options.lesion_mask is not None, asked=options.finder)

    def possible(self, scans: Sequence[object | None]) -> None:
        """Refuse what cannot be."""
        mask, doubt = self.options.lesion_mask is not None, self.options.uncertainty is not None
        possible(scans, self.model, self.options, mask=mask, doubt=doubt)

    def done_before(self, job: Job) -> bool:
        done = done_before(job, self.model, self.options, self.segmenter, self.finder)
        if done and self.options.volumes:  # a run may have been killed before the row was written
            add_row(self.options.volumes, job, io.sidecar(job.target))
        return done

    def present(self, job: Job, refusal: Refusal) -> Refusal:
        if self.options.measured and io.sidecar(job.target).get("tool") == "isomorph":
            other = "name the structures of this very T1 by isomorph segment, or choose another output or --overwrite"
            return Refusal(refusal.code, refusal.reason, other)
        return refusal

    def compute(self, job: Job, tell: Tell | None) -> _Made:
        """Read and synthesise."""
        if job in self.unfit:
            raise self.unfit[job]
        options, start = self.options, time.perf_counter()
        if options.max_memory is not None:  # before a voxel is read
            budget(outlines(job), self.model, options, segmenter=self.segmenter, finder=self.finder)
        scans, told = read_exam(job, options, self.possible)
        mask = read_mask(options)
        volumes = [scan and scan.volume for scan in scans]
        seconds = {"read": round(time.perf_counter() - start, 4)}
        result = synthesise(
            volumes if job.exam else scans[0].volume,  # pyright: ignore[reportOptionalMemberAccess]
            self.model,
            ct=options.ct,
            device=options.device,
            precision=options.precision,
            flip=options.flip,
            compat=options.compat,
            sharpen=options.sharpen,
            lesions=options.lesions,
            lesion_mask=mask and mask.volume,
            finder=self.finder,
            uncertainty=options.uncertainty is not None,
            segmentation=self.segmenter or False,
            grid=options.grid,
            max_memory=options.max_memory,
            progress=tell,
        )
        notices = (*told, *(mask.warnings if mask else ()), *result.notices)
        return _Made(scans, replace(result, seconds=seconds | result.seconds, notices=notices))

    def write(self, job: Job, made: _Made) -> Outcome:
        """Write all that was asked for; a full disk is nobody's outcome, it ends the run."""
        start, result = time.perf_counter(), made.result
        sidecar = write_outputs(job, made.scans, result, self.model, self.options)
        seconds = result.seconds | {"write": round(time.perf_counter() - start, 4)}
        return outcome_of(job, sidecar, seconds)

    def shown(self, made: _Made) -> tuple[Volume, Volume]:
        scan = made.scans[made.result.reference]
        assert scan
        return scan.volume, made.result.volume

    def stored(self, job: Job) -> tuple[Volume, Volume]:
        seen = io.sidecar(job.target)["input"]["sha256"]
        scan = next(path for path in job.sources if io.digest(path) == seen)
        return io.read(scan, ct=self.options.ct).volume, io.load(job.target, kind="image")
