"""Which segmentation belongs to which scan: their names say it, or their order where names say nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from . import io
from .errors import NothingFound, UsageError, escape
from .io.names import suffix

PathLike = str | os.PathLike[str]
PERSON = re.compile(r"sub-[^_]+(_ses-[^_]+)?")  # how a BIDS name begins


def pairs(images: PathLike, labels: PathLike) -> list[tuple[Path, Path]]:
    """Scans, each with its segmentation.

    Two files are a pair, and two ``.txt`` files are paired line by line. Of two folders, a segmentation belongs to the
    scan whose name its own begins with, or to that of the same person and session by BIDS; if no name says so, they
    are paired in their order, in which 2 comes before 10.

    Parameters
    ----------
    images, labels : path
        Of a file, a folder or a ``.txt`` file.

    Raises
    ------
    NothingFound
        If there is no scan, or no segmentation.
    UsageError
        If there are not as many of one as of the other, or some names belong together and others do not.
    """
    scans, maps = _listed(Path(images)), _listed(Path(labels))
    if len(scans) != len(maps):
        raise UsageError(f"{len(scans)} scans and {len(maps)} segmentations; give one segmentation for each scan.")
    if not (Path(images).is_dir() and Path(labels).is_dir()):
        return list(zip(scans, maps, strict=True))
    partly: Path | None = None
    for name in (_name, _person):
        owners = _owners(scans, maps, name)
        if sorted(owners) == list(range(len(scans))):
            return sorted((scans[owner], map_) for owner, map_ in zip(owners, maps, strict=True))
        if max(owners) >= 0:
            partly = next(m for k, m in enumerate(maps) if owners[k] < 0 or owners.count(owners[k]) > 1)
    if partly:
        said = f"by its name {escape(partly.name)} is not the one segmentation of one scan, as others are"
        raise UsageError(f"{said}; rename it, or give two .txt lists, paired line by line.")
    return list(zip(sorted(scans, key=_natural), sorted(maps, key=_natural), strict=True))


def _owners(scans: Sequence[Path], maps: Sequence[Path], name: Callable[[Path], str]) -> list[int]:
    """The scan with the longest name that that of each segmentation begins with; -1 if there is none."""
    keys = {name(scan): k for k, scan in enumerate(scans)}
    if len(keys) < len(scans):  # the same name in many folders
        return [-1] * len(maps)
    fits = [[key for key in keys if name(map_).startswith(key)] for map_ in maps]
    return [keys[max(known, key=len)] if known else -1 for known in fits]


def _name(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix(path))]


def _person(path: Path) -> str:
    found = PERSON.match(path.name)
    return found.group() if found else _name(path)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers by their size."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.as_posix()) if part]


def _listed(path: Path) -> list[Path]:
    said = escape(os.fspath(path))
    if not os.path.lexists(path):
        raise NothingFound(f"no image in {said}; give a file, a folder or a list.")
    if path.suffix == ".txt" and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"the list {said} cannot be read; give one path in each line.") from None
        found = [path.parent / line.strip() for line in lines if line.strip()]
    else:
        found, ours = io.survey([path])
        found = sorted(found + ours)
    if not found:
        raise NothingFound(f"no image in {said}; give a file, a folder or a list.")
    return found
