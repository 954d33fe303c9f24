"""What a user sees while the work goes on: a bar on a terminal, plain lines elsewhere, a report if asked for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .console import say
from .place import tidied

if TYPE_CHECKING:
    from .predict.batch import Listeners
    from .predict.outcome import Outcome
    from .volume import Volume

QUIET = 30.0  # s: as long as a log may wait for a line before it looks as if nothing went on

log = logging.getLogger(__name__)


@contextmanager
def watching(
    report: Path | None = None, inputs: Sequence[str | os.PathLike[str]] = (), *, overwrite: bool = False
) -> Iterator[Listeners]:
    """Listeners for `predict_scans` that print, and that write a report at the end.

    Parameters
    ----------
    report : path of an HTML file, optional
    inputs : paths
        What the report must not replace.

    Raises
    ------
    UsageError, SetupError
        If the report cannot be made, before any work.
    """
    from .predict.batch import Listeners
    from .predict.outcome import BAD  # here, so that training runs where there is no image library

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with tidied([report] if report else []), shown as bar:
        gallery = _Gallery(report, inputs, overwrite=overwrite) if report else None
        task, heard = bar.add_task("", total=1.0), time.monotonic()

        def tell_stage(name: str, stage: str, share: float) -> None:
            nonlocal heard
            bar.update(task, description=escape(f"{name}: {stage}"), completed=share)
            if not console.is_terminal and time.monotonic() - heard > QUIET:
                heard = time.monotonic()
                say(f"{name}: {stage} {share:.0%}", err=True)

        def tell_outcome(outcome: Outcome) -> None:
            nonlocal heard
            heard = time.monotonic()
            say(outcome.line, err=outcome.status in BAD)
            for warning in outcome.warnings if outcome.status != "skipped" else ():  # of what is new
                say(f"WARNING {outcome.name}: {warning}", err=True)
            if gallery:
                gallery.add(outcome)

        try:
            yield Listeners(say=tell_outcome, watch=gallery.show if gallery else None, progress=tell_stage)
        finally:
            if gallery and gallery.entries:
                gallery.write()


@contextmanager
def training() -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that shows the log entries of a training run: a bar on a terminal, a line each elsewhere."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(entry: dict[str, Any]) -> None:
            line = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in entry.items())
            if console.is_terminal:
                bar.update(task, description=escape(line), total=entry.get("steps"), completed=entry.get("step"))
            else:
                say(line)

        yield report


class _Gallery:
    """Collects what a report shows; pictures are drawn at once, so that no volume is kept."""

    def __init__(self, path: Path, inputs: Sequence[str | os.PathLike[str]], *, overwrite: bool) -> None:
        from .report import Entry, check_report, draw, write_report

        check_report(path, inputs, overwrite=overwrite)
        self.path, self.entries = path, []
        self._entry, self._draw, self._write = Entry, draw, write_report

    def add(self, outcome: Outcome) -> None:
        self.entries.append(
            self._entry(
                name=outcome.name,
                status=outcome.status,
                message=outcome.message,
                warnings=outcome.warnings,
                seconds=outcome.seconds,
            )
        )

    def show(self, outcome: Outcome, scan: Volume, synthetic: Volume) -> None:
        """Pictures of the scan that was added last."""
        try:
            pictures = {"input": self._draw(scan, like=synthetic), "synthetic T1": self._draw(synthetic)}
        except Exception as error:  # the image is written already: a picture must not undo that
            log.warning("no picture of %s (%s)", outcome.name, type(error).__name__)
            return
        self.entries[-1].pictures.update(pictures)

    def write(self) -> None:
        self._write(self.path, self.entries)
