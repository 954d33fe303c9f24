"""What a user means by a few files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from isomorph.io.names import is_ours, suffix


def find(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Images in files and folders, sorted, each once.

    A file that is named is taken as it is, so that `read` can say what is wrong with it. In a folder, and all below,
    images count by suffix in any case, a .hdr/.img pair once; hidden files and what isomorph wrote are left out.
    Links to folders are not followed: they can lead round in a circle.

    Parameters
    ----------
    paths : paths
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if os.path.isdir(path):
            found |= dict.fromkeys(_below(path))
        else:
            found[path] = None
    return _pairs_once(list(found))


def _below(folder: Path) -> list[Path]:
    images = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if suffix(name) and not name.startswith(".") and not is_ours(path):
                images.append(path)
    return sorted(images)


def _pairs_once(paths: list[Path]) -> list[Path]:
    """Leave out an .img whose .hdr is there too."""
    headers = {_stem(p) for p in paths if suffix(p).startswith(".hdr")}
    return [p for p in paths if not (suffix(p).startswith(".img") and _stem(p) in headers)]


def _stem(path: Path) -> Path:
    return path.with_name(path.name[: len(path.name) - len(suffix(path))])
