"""Which segmentation belongs to which scan: their names say it, or their order where names say nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from . import io
from .errors import NothingFound, UsageError, escape
from .io.names import bare
from .io.target import identity

PathLike = str | os.PathLike[str]
LISTS = "give two .txt lists, which are paired line by line"


def pairs(images: PathLike, labels: PathLike) -> list[tuple[Path, Path]]:
    """Scans, each with its segmentation.

    Two files are a pair, and two ``.txt`` files are paired line by line. Of two folders, a segmentation belongs to the
    scan whose name its own begins with, or to that of the same person and session by BIDS; a session that only one of
    both names does not part them. Only where no name says anything they are paired in their order, in which 2 comes
    before 10.

    Parameters
    ----------
    images, labels : path
        Of a file, a folder or a ``.txt`` file.

    Raises
    ------
    NothingFound
        If there is no scan, or no segmentation.
    UsageError
        If there are not as many of one as of the other, a file is among both, or their names do not tell which belong
        together.
    """
    images, labels = Path(images), Path(labels)
    scans, maps = _listed(images), _listed(labels)
    _refuse_both(scans, maps)
    if len(scans) != len(maps):
        raise UsageError(f"{len(scans)} scans and {len(maps)} segmentations; give one segmentation for each scan.")
    if not images.is_dir() and not labels.is_dir():
        return list(zip(scans, maps, strict=True))
    if not (images.is_dir() and labels.is_dir()) and len(scans) > 1:
        raise UsageError(f"a folder and a list; give two folders, or {LISTS}.")
    said = _by_name(scans, maps)
    for sessions in (True, False):
        said = said or _by_person(scans, maps, images, labels, sessions=sessions)
    said = said or _by_order(scans, maps, images, labels)
    for scan, map_ in said:
        if _at_odds(_person(scan, images), _person(map_, labels)):
            names = f"{escape(scan.name)} and {escape(map_.name)}"
            raise UsageError(f"{names} are of different people or sessions; {LISTS}.")
    return said


def _refuse_both(scans: Sequence[Path], maps: Sequence[Path]) -> None:
    """No file is a scan and a segmentation: a folder that holds both, given twice, would pair each with itself."""
    known = {identity(scan) for scan in scans} - {None}
    for map_ in maps:
        if identity(map_) in known:
            said = f"{escape(map_.name)} is given as a scan and as a segmentation"
            raise UsageError(f"{said}; give different files, folders that share none, or two .txt lists.")


def _by_name(scans: Sequence[Path], maps: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs by the longest name of a scan that a segmentation's begins with; none if no name says so.

    Raises
    ------
    UsageError
        If some do and some do not.
    """
    names = {bare(scan): scan for scan in scans}
    if len(names) < len(scans):  # the same name in many folders
        return []
    found: dict[Path, Path] = {}
    for map_ in maps:
        end = bare(map_)
        fits = [n for n in names if end.startswith(n) and not end[len(n) : len(n) + 1].isalnum()]
        if fits:
            found.setdefault(names[max(fits, key=len)], map_)
    if 0 < len(found) < len(maps):
        stray = next(map_ for map_ in maps if map_ not in found.values())
        raise UsageError(f"by its name {escape(stray.name)} is of no scan, or of one that has another; {LISTS}.")
    return sorted(found.items())


def _by_person(
    scans: Sequence[Path], maps: Sequence[Path], images: Path, labels: Path, *, sessions: bool
) -> list[tuple[Path, Path]]:
    """Pairs of one person, and session; none unless each has one of both."""
    here, there = (
        {_person(path, root, sessions=sessions): path for path in paths}
        for paths, root in ((scans, images), (maps, labels))
    )
    whole = len(here) == len(there) == len(scans) and here.keys() == there.keys() and "" not in here
    return [(here[key], there[key]) for key in sorted(here)] if whole else []


def _by_order(scans: Sequence[Path], maps: Sequence[Path], images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pairs as they follow each other.

    Raises
    ------
    UsageError
        If there are several, and a name says whom it is of.
    """
    people = [_person(path, images) for path in scans] + [_person(path, labels) for path in maps]
    if len(scans) > 1 and any(people):
        raise UsageError(f"names do not tell which of {len(maps)} segmentations belongs to which scan; {LISTS}.")
    return list(zip(sorted(scans, key=_natural), sorted(maps, key=_natural), strict=True))


def _at_odds(one: str, other: str) -> bool:
    """Whether two names say different people, or different sessions; what only one of them says is no matter."""
    a, b = (dict(part.split("-") for part in said.split()) for said in (one, other))
    return any(a[word] != b[word] for word in a.keys() & b.keys())


def _person(path: Path, root: Path, *, sessions: bool = True) -> str:
    """Who a BIDS path is about, and when."""
    inside = path.relative_to(root).as_posix() if root in path.parents else path.name
    found = [re.search(rf"(?<![a-zA-Z0-9]){word}-[a-zA-Z0-9]+", inside) for word in ("sub", "ses")[: 1 + sessions]]
    return " ".join(match.group() for match in found if match)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers by their size."""
    parts = [part for part in re.split(r"([0-9]+)", path.as_posix()) if part]
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]


def _listed(path: Path) -> list[Path]:
    said = escape(os.fspath(path))
    if not os.path.lexists(path):
        raise NothingFound(f"no image in {said}; give a file, a folder or a list.")
    if path.suffix == ".txt" and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows may begin it with a mark
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"the list {said} cannot be read; give one path in each line.") from None
        found = [path.parent / line.strip() for line in lines if line.strip()]
    else:
        found, ours = io.survey([path])
        found = sorted(found + ours)
    if not found:
        raise NothingFound(f"no image in {said}; give a file, a folder or a list.")
    return found
