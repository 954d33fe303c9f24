"""What is read: a scan unless it is refused, with what is doubtful about it; an exam; and a mask of its lesions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from .. import io
from ..errors import Refusal, UsageError
from ..io import Notice
from .memory import Outline
from .options import Options
from .plan import Job

STRICT = ("W4", "W5")  # warnings about geometry and content
LARGEST = 700.0  # ml: half a brain
STRIPPED = "W509"  # the skull: no matter to the structures of a T1
TOMOGRAM = Notice("W510", "looks like a CT in Hounsfield units, treated as MR; give --ct if it is one")


def read_scan(path: Path, options: Options, *, named: bool) -> io.Scan:
    """One scan, and what is doubtful about it.

    Parameters
    ----------
    path : Path
    options : Options
    named : bool
        Whether each message says which scan it is about, as it must where there are several.

    Raises
    ------
    Refusal
    """
    if not named:
        return _accepted(path, options)
    with _of(path):
        return _named(_accepted(path, options), path)


def read_exam(
    job: Job, options: Options, possible: Callable[[Sequence[object | None]], None]
) -> tuple[list[io.Scan | None], list[Notice]]:
    """The scan of a job, or those of its exam: one that is refused is left out, and told, and the others go on.

    Parameters
    ----------
    job : Job
    options : Options
    possible : callable
        Raises a `UsageError` for scans, None in the place of what is left out, that the model cannot do with.

    Returns
    -------
    scans : list of Scan or None
        None where there is none.
    notices : list of Notice
        W604, one for each scan that was left out.

    Raises
    ------
    Refusal
        If no scan is left, the model cannot do without one, or one is missing that a mask of lesions was drawn on.
    """
    if not job.exam:
        return [read_scan(job.source, options, named=False)], []
    scans: list[io.Scan | None] = []
    refused: dict[int, Refusal] = {}
    for k, path in enumerate(job.exam):
        try:
            scans.append(path and read_scan(path, options, named=True))
        except Refusal as refusal:
            scans.append(None)
            refused[k] = refusal
    if refused:
        first, others = next(iter(refused.values())), len(refused) - 1
        if not any(scans):
            more = f", and {others} more of this exam cannot be used" if others else ""
            raise Refusal(first.code, f"{first.reason}{more}", first.remedy)
        drawn = next(k for k, path in enumerate(job.exam) if path)  # on the first scan that there is
        if drawn in refused and options.lesion_mask is not None:
            raise refused[drawn]
        try:
            possible(scans)
        except UsageError:
            raise first from None
    return scans, [Notice("W604", f"left out of the exam: {refusal}") for refusal in refused.values()]


def outlines(job: Job) -> list[Outline]:
    """Grid and affine of each scan of a job, from the headers alone; of an exam, without what would be refused.

    Parameters
    ----------
    job : Job

    Raises
    ------
    Refusal
        If a header is not that of an image, and there is no other scan.
    """
    if not job.exam:
        return [io.outline(job.source)]
    found: list[Outline] = []
    for path in job.sources:
        with suppress(Refusal):  # it is told when the scan is read
            found.append(io.outline(path))
    return found


def read_t1(path: Path, options: Options) -> io.Scan:
    """A T1 that is there, real or made by isomorph, and what is doubtful about it.

    Parameters
    ----------
    path : Path
    options : Options

    Raises
    ------
    Refusal
    """
    scan = io.read(path, kind="t1")
    said = tuple(n for n in scan.warnings if n.code != STRIPPED)
    return _strictly(replace(scan, warnings=said), options)


def read_mask(options: Options) -> io.Scan | None:
    """Where lesions are, if that was given, and what is doubtful about it, with the name of the file.

    Parameters
    ----------
    options : Options

    Raises
    ------
    Refusal
        That names the file.
    """
    if options.lesion_mask is None:
        return None
    with _of(options.lesion_mask):
        scan = _strictly(io.read(options.lesion_mask, kind="image"), options)
        mask = scan.volume
        ml = float((mask.data > 0.5).sum()) * math.prod(mask.spacing) / 1000
        if ml > LARGEST:
            raise Refusal("E509", f"is above 0.5 in {ml:.0f} ml, more than any lesion", "give a mask, not a scan")
    return _named(scan, Path(options.lesion_mask))


def _accepted(path: Path, options: Options) -> io.Scan:
    """One scan, unless it is refused."""
    scan = io.read(path, ct=options.ct)
    told = {n.code for n in scan.warnings} & {"W503", "W504"}
    if scan.source["modality"] == "ct" and not options.ct and not told:
        scan = replace(scan, warnings=(*scan.warnings, TOMOGRAM))
    return _strictly(scan, options)


def _named(scan: io.Scan, path: Path) -> io.Scan:
    """The same scan; what is doubtful about it begins with its name."""
    said = tuple(Notice(n.code, f"{io.escape(path.name)}: {n.message}") for n in scan.warnings)
    return replace(scan, warnings=said)


def _strictly(scan: io.Scan, options: Options) -> io.Scan:
    """The same scan; what is doubtful about it is a reason to refuse it where that was asked for."""
    if options.strict and (doubt := next((n for n in scan.warnings if n.code.startswith(STRICT)), None)):
        raise Refusal(doubt.code, doubt.message, "refused because of --strict, leave it out to take it")
    return scan


@contextmanager
def _of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file was refused, where more than one was given."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(refusal.code, f"{io.escape(Path(path).name)} {refusal.reason}", refusal.remedy) from None
