"""Many files: each ends in exactly one outcome, and no bad one stops or changes the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from .. import io
from ..errors import IsomorphError, Refusal, SetupError
from ..interrupt import Interrupted, Signals, listening
from ..place import tidied
from ..volume import Volume
from .outcome import BAD, Outcome, Summary, exit_code, judged
from .plan import Job
from .run import out_of_memory

Watch = Callable[[Outcome, Volume, Volume], None]  # outcome, scan, synthetic T1
Tell = Callable[[str, float], None]  # stage, share of it that is done
Made = TypeVar("Made")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who is told what, while it happens.

    Parameters
    ----------
    say : callable
        Gets each `Outcome`.
    watch : callable, optional
        Gets the outcome and the images of each scan that is done, now or before, for a report; after `say` has.
    progress : callable, optional
        Gets the name of the scan, the stage and the share of it that is done.
    """

    say: Callable[[Outcome], None] = lambda outcome: None
    watch: Watch | None = None
    progress: Callable[[str, str, float], None] | None = None


class Work(Protocol[Made]):
    """What is done with each job; the run around it is the same for all."""

    passed_over: str  # what is said of an image of ours that was found in a folder and is not to be worked on
    overwrite: bool

    def outputs(self, job: Job) -> Sequence[Path]:
        """Each file that may be written, but for the JSON beside it."""
        ...

    def check(self, job: Job) -> None:
        """Everything that can be known to go wrong with its outputs."""
        ...

    def begin(self, jobs: Sequence[Job]) -> None:
        """Load what all need; what is wrong with the command or the machine ends the run here."""
        ...

    def done_before(self, job: Job) -> bool:
        """Whether all outputs are there, whole, and what this run would make."""
        ...

    def present(self, job: Job, refusal: Refusal) -> Refusal:
        """What is said of an output that is there and something else."""
        ...

    def compute(self, job: Job, tell: Tell | None) -> Made:
        """From files to results in memory."""
        ...

    def write(self, job: Job, made: Made) -> Outcome:
        """All outputs or none."""
        ...

    def shown(self, made: Made) -> tuple[Volume, Volume]:
        """What went in and what came out, for a report."""
        ...

    def stored(self, job: Job) -> tuple[Volume, Volume]:
        """The same of a job that was done before, from its files."""
        ...


def run_jobs(jobs: Sequence[Job], work: Work[Made], listeners: Listeners | None = None) -> Summary:
    """Check every output, then load what is needed, then work, job by job; no empty folder is left behind.

    Parameters
    ----------
    jobs : sequence of Job
    work : Work
    listeners : Listeners, optional

    Returns
    -------
    Summary
        Also when interrupted, or when the disk is full: what was done is complete, the rest is untouched.

    Raises
    ------
    UsageError, SetupError
        Before anything is done.
    """
    run = _Run(jobs, work, listeners or Listeners())
    with tidied(path for job in jobs if not job.ours for path in work.outputs(job)), listening() as signals:
        try:
            run.all(signals)
        except Interrupted as stop:
            return run.summary(str(stop), stop.exit_code)
        except SetupError as error:
            if not run.started:
                raise
            return replace(run.summary(str(error), error.exit_code), why=str(error))
    bad = sum(outcome.status in BAD for outcome in run.outcomes.values())
    return run.summary("", exit_code(bad, len(run.outcomes)))


class _Run(Generic[Made]):
    """The state of one run: what is planned, and what became of it."""

    def __init__(self, jobs: Sequence[Job], work: Work[Made], to: Listeners) -> None:
        self.jobs, self.work, self.to = jobs, work, to
        self.outcomes: dict[Job, Outcome] = {}
        self.started = False

    def all(self, signals: Signals) -> None:
        for job in self.jobs:
            if job.ours:
                self.end(job, Outcome(name=job.name, status="skipped", message=self.work.passed_over))
            elif (refusal := self.refused(job)) and not self.taken(job, refusal):
                self.end(job, trouble(job, refusal))
        waiting = [job for job in self.jobs if job not in self.outcomes]
        if not waiting:
            return
        self.work.begin(waiting)
        self.started = True
        for job in waiting:
            if refusal := self.refused(job):  # asked again: other processes may work on the same folder
                outcome = self.again(job, refusal)
                self.end(job, outcome)
                self.show_again(job, outcome)
            else:
                self.one(job, signals)

    def refused(self, job: Job) -> Refusal | None:
        """What is wrong with its outputs by now."""
        try:
            self.work.check(job)
        except Refusal as refusal:
            return refusal
        return None

    def taken(self, job: Job, refusal: Refusal) -> bool:
        """Whether an output is there: it may be what this run would make, which can be told once all is loaded."""
        return refusal.code == "E705" and not self.work.overwrite and os.path.lexists(job.target)

    def again(self, job: Job, refusal: Refusal) -> Outcome:
        """The outcome of a scan that is refused for its output: skipped if that is the one that this run would make."""
        if not self.taken(job, refusal):
            return trouble(job, refusal)
        try:
            if self.work.done_before(job):
                return skipped(job)
        except Refusal as unreadable:
            return trouble(job, unreadable)
        return trouble(job, self.work.present(job, refusal))

    def one(self, job: Job, signals: Signals) -> None:
        """One scan, from file to file; whatever goes wrong with it is its own outcome."""
        tell = self.to.progress
        try:
            made = self.work.compute(job, (lambda stage, share: tell(job.name, stage, share)) if tell else None)
        except Exception as error:
            return self.end(job, trouble(job, error))
        with signals.held():
            try:
                outcome = self.work.write(job, made)
            except SetupError:  # a full disk is nobody's outcome
                raise
            except Refusal as refusal:  # somebody else wrote it in the meantime
                outcome = self.again(job, refusal)
            except Exception as error:  # memory is gone
                outcome = trouble(job, error)
            self.end(job, outcome)
        if self.to.watch and outcome.status not in BAD:
            self.to.watch(outcome, *self.work.shown(made))
        return None

    def show_again(self, job: Job, outcome: Outcome) -> None:
        """A scan that was done before is in a report as one that was done now."""
        if not self.to.watch or outcome.status != "skipped":
            return
        try:
            volumes = self.work.stored(job)
        except Exception as error:  # it is done, with or without a picture
            log.warning("no picture of %s (%s)", outcome.name, type(error).__name__)
            return
        self.to.watch(outcome, *volumes)

    def end(self, job: Job, outcome: Outcome) -> None:
        """Record an outcome and tell it."""
        self.outcomes[job] = outcome
        self.to.say(outcome)

    def summary(self, why: str, code: int) -> Summary:
        """All outcomes in the order of the inputs; what was not reached says why."""
        rest = {job: Outcome(name=job.name, status="not_run", message=why) for job in self.jobs}
        return Summary([(rest | self.outcomes)[job] for job in self.jobs], code)


def skipped(job: Job) -> Outcome:
    """The outcome of a job that was done before, with what its JSON says: a report that is made anew loses nothing."""
    message = f"{io.escape(job.target.name)} was done before"
    try:
        quality, warnings = judged(io.sidecar(job.target))
    except (KeyError, TypeError, ValueError, ArithmeticError):  # edited: the image is whole all the same
        quality, warnings = "", ()
    return Outcome(name=job.name, status="skipped", message=message + quality, warnings=warnings)


def trouble(job: Job, error: Exception) -> Outcome:
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
