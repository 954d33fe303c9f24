"""The table of volumes: one row a scan, whole at every instant; what is lost of it is in the JSON of each T1 too."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from errno import EIO
from pathlib import Path
from typing import Any

from ..errors import Refusal, SetupError, UsageError, escape
from ..io.target import FULL, trouble
from ..place import place
from ..weights import Model
from .labelling import Classes
from .plan import Job

BRAIN, SKULL = "total brain", "intracranial (estimated)"
FIRST = ("file", "sha256", "output", "quality", "cut", BRAIN, SKULL)
KEY = FIRST[:3]  # scans in different folders may have one name, and one scan may lead two exams
FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet would compute what begins like this

Row = dict[str, str]


def check_table(path: str | os.PathLike[str], structures: Collection[str]) -> None:
    """Everything that can be known to go wrong with a table, before the work; makes its folder.

    Parameters
    ----------
    path : path
        Ending in ``.csv``. A table that is there is gone on with.
    structures : collection of str
        Names of what is measured: a table that is there must have these columns and no others.

    Raises
    ------
    UsageError
        Another ending.
    Refusal
        E705 it is no table of volumes, or one of other columns; E706 it is a link.
    SetupError
        E702 the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise UsageError(f"--volumes is {escape(path.name)!r}; give the name of a table that ends in .csv.")
    if path.is_symlink():
        raise Refusal("E706", f"{escape(path.name)} is a link, which is never written through", "remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
        _read(path, {*FIRST, *structures})
    except OSError as error:
        raise trouble(error, path) from None


def begin_table(path: str | os.PathLike[str], segmenter: Model) -> None:
    """As `check_table`, for a whole run: a table that cannot be used is no refusal of a scan, the command is wrong.

    Parameters
    ----------
    path : path
    segmenter : Model
        That will measure.

    Raises
    ------
    UsageError, SetupError
    """
    try:
        check_table(path, Classes.of(segmenter).names)
    except Refusal as refusal:
        raise UsageError(f"--volumes: {refusal}") from None


def add_row(path: str | os.PathLike[str], job: Job, sidecar: dict[str, Any]) -> None:
    """Put the volumes of a scan into a table, in place of what it says of this scan and output already.

    The table is written anew beside the old one, then takes its place in one step. Meanwhile no other process may.

    Parameters
    ----------
    path : path
    job : Job
    sidecar : dict
        Of its target.

    Raises
    ------
    Refusal
        As `check_table`.
    SetupError
        E702 or E703: the row could not be written; the same command, run again, takes it from the JSON of the T1.
    """
    path, row = Path(path), _row(job, sidecar)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # another run may have left it empty, and taken it away
        with _alone(path.parent):
            rows = _read(path, row.keys())
            same = [k for k, old in enumerate(rows) if _replaced(old, row, sidecar)]
            if [rows[k] for k in same] == [row]:
                return
            at = same[0] if same else len(rows)
            rows = [*rows[:at], row, *(old for k, old in enumerate(rows) if k >= at and k not in same)]
            place(path, _text(rows))
    except OSError as error:
        code, why = "E703" if error.errno in FULL else "E702", os.strerror(error.errno or EIO).lower()
        said = f"the T1 is there, its row in {escape(path.name)} is not ({why})"
        raise SetupError(f"{code} {said}; mend that, then run the same command again") from None


def _replaced(old: Row, row: Row, sidecar: dict[str, Any]) -> bool:
    """Whether a row told the same as this one does now: also of an exam that was led by another of its scans."""
    if all(old[key] == row[key] for key in KEY):
        return True
    there = os.path.dirname(old["file"]) == os.path.dirname(row["file"]) and old["output"] == row["output"]
    return there and old["sha256"] in [part["sha256"] for part in sidecar.get("exam", [])]


def _row(job: Job, sidecar: dict[str, Any]) -> Row:
    """What a table says of a scan."""
    found, quality = sidecar["segmentation"], sidecar["quality"]["value"]
    file, output = (f"'{name}" if name.startswith(FORMULA) else name for name in (_hashed(job, sidecar), job.output))
    said = (file, sidecar["input"]["sha256"], output, "" if quality is None else quality, "; ".join(found["cut"]))
    sizes = (found["brain_mm3"], found["intracranial_mm3"], *found["volumes_mm3"].values())
    columns = (*FIRST, *found["volumes_mm3"])
    return dict(zip(columns, map(str, (*said, *sizes)), strict=True))


def _hashed(job: Job, sidecar: dict[str, Any]) -> str:
    """The file that the hash is of, relative to the folder that was given: of an exam its reference."""
    if not job.exam:
        return job.name
    reference = sidecar["input"]["file"]
    return f"{job.name}/{reference}" if job.root else reference


def _text(rows: list[Row]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _read(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows that are there, of these columns in any order; none where there is no table yet."""
    if not path.exists():
        return []
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise _foreign(path) from None
    header = lines[0] if lines else []
    if tuple(header[: len(FIRST)]) != FIRST or any(len(line) != len(header) for line in lines):
        raise _foreign(path)
    if len(lines) > 1 and set(header) != set(columns):
        raise _foreign(path)
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _foreign(path: Path) -> Refusal:
    other = "one of another version, or of another segmentation network"
    reason = f"{escape(path.name)} exists and is no table of volumes, or {other}"
    return Refusal("E705", reason, "choose another name for it")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process changes a table in this folder; where the file system knows no locks, that is hoped for."""
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
