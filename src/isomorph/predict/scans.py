"""Many files: each ends in exactly one outcome, and no bad one stops or changes the others."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from .. import io
from ..errors import IsomorphError, Refusal, SetupError
from ..interrupt import Interrupted, Signals, listening
from ..io import Notice
from ..volume import Volume
from ..weights import Model, load_model, synthesises
from .options import OPTIONS, Options
from .outcome import BAD, Outcome, Summary, exit_code
from .plan import OURS, Job, plan
from .provenance import done_before, provenance
from .run import choose_device, out_of_memory
from .synthesise import Result, synthesise

STRICT = ("W4", "W5")  # warnings about geometry and content
TOMOGRAM = Notice("W510", "looks like a CT in Hounsfield units, treated as MR; give --ct if it is one")
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
    run = _Run(plan(inputs, output), options, listeners or Listeners())
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
        self.jobs, self.options, self.to = jobs, options, to
        self.outcomes: dict[Job, Outcome] = {}
        self.started = False

    def all(self, signals: Signals) -> None:
        """Check every output, then load the model, then work."""
        present: dict[Job, Refusal] = {}
        for job in self.jobs:
            if job.ours:
                self.end(job, Outcome(name=job.name, status="skipped", message=OURS))
                continue
            try:
                io.check_output(job.target, inputs=[job.source], overwrite=self.options.overwrite, root=job.root)
            except Refusal as refusal:
                if refusal.code == "E705" and not self.options.overwrite:
                    present[job] = refusal  # it may be what this run would make: the model tells
                else:
                    self.end(job, _trouble(job, refusal))
        waiting = [job for job in self.jobs if job not in self.outcomes]
        if not waiting:
            return
        choose_device(self.options.device)
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        model = synthesises(load_model(self.options.model))
        self.started = True
        for job in waiting:
            if job in present:
                self.end(job, self.again(job, present[job], model))
            else:
                self.one(job, model, signals)

    def again(self, job: Job, refusal: Refusal, model: Model) -> Outcome:
        """The outcome of a scan whose output is there: skipped if it is the one that this run would make."""
        try:
            if done_before(job.source, job.target, model, self.options):
                return Outcome(name=job.name, status="skipped", message=f"{io.escape(job.target.name)} was done before")
        except Refusal as unreadable:
            return _trouble(job, unreadable)
        return _trouble(job, refusal)

    def one(self, job: Job, model: Model, signals: Signals) -> None:
        """One scan, from file to file; whatever goes wrong with it is its own outcome."""
        try:
            scan, result = self.compute(job, model)
        except Exception as error:
            return self.end(job, _trouble(job, error))
        with signals.held():
            self.end(job, self.write(job, scan, result, model))
        if self.to.watch and self.outcomes[job].status.startswith("done"):
            self.to.watch(self.outcomes[job], scan.volume, result.volume)
        return None

    def compute(self, job: Job, model: Model) -> tuple[io.Scan, Result]:
        """Read and synthesise."""
        options, start = self.options, time.perf_counter()
        scan = io.read(job.source, ct=options.ct)
        if (
            scan.source["modality"] == "ct"
            and not options.ct
            and not {n.code for n in scan.warnings} & {"W503", "W504"}
        ):
            scan = replace(scan, warnings=(*scan.warnings, TOMOGRAM))
        if options.strict and (doubt := next((n for n in scan.warnings if n.code.startswith(STRICT)), None)):
            raise Refusal(doubt.code, doubt.message, "refused because of --strict")
        seconds = {"read": round(time.perf_counter() - start, 4)}
        tell = self.to.progress
        result = synthesise(
            scan.volume,
            model,
            ct=options.ct,
            device=options.device,
            precision=options.precision,
            flip=options.flip,
            progress=(lambda stage, share: tell(job.name, stage, share)) if tell else None,
        )
        return scan, replace(result, seconds=seconds | result.seconds)

    def write(self, job: Job, scan: io.Scan, result: Result, model: Model) -> Outcome:
        """Write image and sidecar; a full disk is nobody's outcome, it ends the run."""
        start = time.perf_counter()
        sidecar = provenance(job.name, scan, result, model, self.options)
        try:
            io.write(
                result.volume,
                job.target,
                overwrite=self.options.overwrite,
                sidecar=sidecar,
                inputs=[job.source],
                root=job.root,
            )
        except Refusal as refusal:  # somebody else wrote it in the meantime
            return _trouble(job, refusal)
        seconds = result.seconds | {"write": round(time.perf_counter() - start, 4)}
        message = f"{io.escape(job.target.name)} in {sum(seconds.values()):.1f} s"
        warnings = tuple(f"{notice.code} {notice.message}" for notice in scan.warnings)
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
