"""Many files: each ends in exactly one outcome, and no bad one stops or changes the others."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from .. import io
from ..errors import IsomorphError, Refusal, SetupError, UsageError
from ..interrupt import Interrupted, Signals, listening
from ..volume import Volume
from ..weights import Model, load_model, read_card, sharpens, synthesises
from .intake import read_mask, read_scan
from .lesions import asked
from .memory import budget
from .options import OPTIONS, Options
from .outcome import BAD, Outcome, Summary, exit_code
from .outputs import check_outputs, write_outputs
from .plan import ENDING, OURS, SHARPENED, Job, plan
from .possible import possible
from .provenance import done_before
from .run import choose_device, out_of_memory
from .segment import segmenter_for
from .synthesise import Result, synthesise
from .table import add_row, check_table

Watch = Callable[[Outcome, Volume, Volume], None]  # outcome, scan, synthetic T1

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who is told what, while it happens.

    Parameters
    ----------
    say : callable
        Gets each `Outcome`.
    watch : callable, optional
        Gets the outcome and the images of each scan that is done, for a report.
    progress : callable, optional
        Gets the name of the scan, the stage and the share of it that is done.
    """

    say: Callable[[Outcome], None] = lambda outcome: None
    watch: Watch | None = None
    progress: Callable[[str, str, float], None] | None = None


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
    ending = SHARPENED if sharpens(read_card(options.model)) else ENDING
    return predict_jobs(plan(inputs, output, ending), options, listeners)


def predict_jobs(jobs: list[Job], options: Options = OPTIONS, listeners: Listeners | None = None) -> Summary:
    """As `predict_scans`, once it is planned which scan goes where.

    Parameters
    ----------
    jobs : list of Job
    options : Options
    listeners : Listeners, optional
    """
    run = _Run(jobs, options, listeners or Listeners())
    with listening() as signals:
        try:
            run.all(signals)
        except Interrupted as stop:
            return run.summary(str(stop), stop.exit_code)
        except SetupError as error:
            if not run.started:
                raise
            return run.summary(str(error), error.exit_code)
    bad = sum(outcome.status in BAD for outcome in run.outcomes.values())
    return run.summary("", exit_code(bad, len(run.outcomes)))


class _Run:
    """The state of one run: what is planned, and what became of it."""

    def __init__(self, jobs: list[Job], options: Options, to: Listeners) -> None:
        asked(options.lesions, given=options.lesion_mask is not None)
        if len(jobs) > 1 and (options.lesion_mask or options.uncertainty):
            raise UsageError(
                f"--lesion-mask and --uncertainty belong to one scan or exam, not to {len(jobs)}; run apart."
            )
        self.jobs, self.options, self.to = jobs, options, to
        self.outcomes: dict[Job, Outcome] = {}
        self.started = False
        self.segmenter: Model | None = None

    def all(self, signals: Signals) -> None:
        """Check every output, then load the model, then work."""
        if self.options.volumes:
            check_table(self.options.volumes)
        present: dict[Job, Refusal] = {}
        for job in self.jobs:
            if job.ours:
                self.end(job, Outcome(name=job.name, status="skipped", message=OURS))
                continue
            try:
                check_outputs(job, self.options)
            except Refusal as refusal:
                if refusal.code == "E705" and not self.options.overwrite and os.path.lexists(job.target):
                    present[job] = refusal  # it may be what this run would make: the model tells
                else:
                    self.end(job, _trouble(job, refusal))
        waiting = [job for job in self.jobs if job not in self.outcomes]
        if not waiting:
            return
        choose_device(self.options.device)
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        model = synthesises(load_model(self.options.model), exam=any(job.exam for job in waiting))
        self.segmenter = segmenter_for(self.options.segmenter if self.options.measured else False, model)
        mask, doubt = self.options.lesion_mask is not None, self.options.uncertainty is not None
        for job in waiting:
            possible(job.exam or (job.source,), model, self.options, mask=mask, doubt=doubt)
        self.started = True
        for job in waiting:
            if job in present:
                self.end(job, self.again(job, present[job], model))
            else:
                self.one(job, model, signals)

    def again(self, job: Job, refusal: Refusal, model: Model) -> Outcome:
        """The outcome of a scan whose output is there: skipped if it is the one that this run would make."""
        try:
            if done_before(job, model, self.options, self.segmenter):
                if self.options.volumes:  # a run may have been killed before the row was written
                    add_row(self.options.volumes, job.name, io.sidecar(job.target))
                return Outcome(name=job.name, status="skipped", message=f"{io.escape(job.target.name)} was done before")
        except Refusal as unreadable:
            return _trouble(job, unreadable)
        return _trouble(job, refusal)

    def one(self, job: Job, model: Model, signals: Signals) -> None:
        """One scan, from file to file; whatever goes wrong with it is its own outcome."""
        try:
            scans, result = self.compute(job, model)
        except Exception as error:
            return self.end(job, _trouble(job, error))
        with signals.held():
            self.end(job, self.write(job, scans, result, model))
        if self.to.watch and self.outcomes[job].status.startswith("done"):
            shown = scans[result.reference]
            assert shown
            self.to.watch(self.outcomes[job], shown.volume, result.volume)
        return None

    def compute(self, job: Job, model: Model) -> tuple[list[io.Scan | None], Result]:
        """Read and synthesise."""
        options, start = self.options, time.perf_counter()
        if options.max_memory is not None:  # before a voxel is read
            outlines = [io.outline(path) for path in job.exam or (job.source,) if path]
            budget(outlines, model, options, segmenter=self.segmenter)
        scans = [path and read_scan(path, options, named=len(job.sources) > 1) for path in job.exam or (job.source,)]
        mask = read_mask(options)
        volumes = [scan and scan.volume for scan in scans]
        seconds = {"read": round(time.perf_counter() - start, 4)}
        tell = self.to.progress
        result = synthesise(
            volumes if job.exam else scans[0].volume,  # pyright: ignore[reportOptionalMemberAccess]
            model,
            ct=options.ct,
            device=options.device,
            precision=options.precision,
            flip=options.flip,
            compat=options.compat,
            sharpen=options.sharpen,
            lesions=options.lesions,
            lesion_mask=mask,
            uncertainty=options.uncertainty is not None,
            segmentation=self.segmenter or False,
            grid=options.grid,
            max_memory=options.max_memory,
            progress=(lambda stage, share: tell(job.name, stage, share)) if tell else None,
        )
        return scans, replace(result, seconds=seconds | result.seconds)

    def write(self, job: Job, scans: list[io.Scan | None], result: Result, model: Model) -> Outcome:
        """Write all that was asked for; a full disk is nobody's outcome, it ends the run."""
        start = time.perf_counter()
        try:
            sidecar = write_outputs(job, scans, result, model, self.options)
        except Refusal as refusal:  # somebody else wrote it, or took the mask away, in the meantime
            return _trouble(job, refusal)
        seconds = result.seconds | {"write": round(time.perf_counter() - start, 4)}
        message = f"{io.escape(job.target.name)} in {sum(seconds.values()):.1f} s"
        message += "" if result.quality is None else f", quality {result.quality:.2f}"
        warnings = tuple(f"{notice['code']} {notice['message']}" for notice in sidecar["warnings"])
        return Outcome(name=job.name, status=sidecar["status"], message=message, warnings=warnings, seconds=seconds)

    def end(self, job: Job, outcome: Outcome) -> None:
        """Record an outcome and tell it."""
        self.outcomes[job] = outcome
        self.to.say(outcome)

    def summary(self, why: str, code: int) -> Summary:
        """All outcomes in the order of the inputs; what was not reached says why."""
        rest = {job: Outcome(name=job.name, status="not_run", message=why) for job in self.jobs}
        return Summary([(rest | self.outcomes)[job] for job in self.jobs], code)


def _trouble(job: Job, error: Exception) -> Outcome:
    """The outcome that an error means."""
    if isinstance(error, Refusal):
        status = "skipped" if error.code == "E505" else "refused"
        return Outcome(name=job.name, status=status, message=str(error))
    if isinstance(error, IsomorphError):
        return Outcome(name=job.name, status="failed", message=str(error))
    if out_of_memory(error):
        message = "E801 not enough memory for this image; use a larger machine"
        return Outcome(name=job.name, status="failed", message=message)
    log.debug("internal error", exc_info=error)
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return Outcome(name=job.name, status="failed", message=f"internal error, {io.escape(what)[:120]}; run with --debug")
