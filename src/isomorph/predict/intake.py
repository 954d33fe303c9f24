"""What is read: a scan unless it is refused, with what is doubtful about it; and a mask of its lesions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .. import io
from ..errors import Refusal
from ..io import Notice
from ..volume import Volume
from .options import Options

STRICT = ("W4", "W5")  # warnings about geometry and content
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
        scan = _accepted(path, options)
    said = tuple(Notice(n.code, f"{io.escape(path.name)}: {n.message}") for n in scan.warnings)
    return replace(scan, warnings=said)


def read_mask(options: Options) -> Volume | None:
    """Where lesions are, if that was given.

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
        return io.load(options.lesion_mask, kind="image")


def _accepted(path: Path, options: Options) -> io.Scan:
    """One scan, unless it is refused."""
    scan = io.read(path, ct=options.ct)
    told = {n.code for n in scan.warnings} & {"W503", "W504"}
    if scan.source["modality"] == "ct" and not options.ct and not told:
        scan = replace(scan, warnings=(*scan.warnings, TOMOGRAM))
    if options.strict and (doubt := next((n for n in scan.warnings if n.code.startswith(STRICT)), None)):
        raise Refusal(doubt.code, doubt.message, "refused because of --strict")
    return scan


@contextmanager
def _of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file was refused, where more than one was given."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(refusal.code, f"{io.escape(Path(path).name)} {refusal.reason}", refusal.remedy) from None
