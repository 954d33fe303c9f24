"""What a user means by a few files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from isomorph.errors import SetupError
from isomorph.io.names import is_ours, suffix


def survey(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], list[Path]]:
    """Images in files and folders, sorted, each once.

    A file that is named is taken as it is, so that `read` can say what is wrong with it. In a folder, and all below,
    images count by suffix in any case, a .hdr/.img pair once; hidden files are left out. Links to folders are not
    followed: they can lead round in a circle.

    Parameters
    ----------
    paths : paths

    Returns
    -------
    images, ours : list of Path
        To be read; and what isomorph wrote into these folders.
    """
    found: dict[Path, None] = {}
    ours: dict[Path, None] = {}
    for path in map(Path, paths):
        if not os.path.isdir(path):
            found[path] = None
            continue
        for image in _below(path):
            (ours if is_ours(image) else found)[image] = None
    return _pairs_once(list(found)), [path for path in ours if path not in found]


def _below(folder: Path) -> list[Path]:
    images = []
    for root, folders, names in os.walk(folder, onerror=_unlisted):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        images += [Path(root, name) for name in names if suffix(name) and not name.startswith(".")]
    return sorted(images)


def _unlisted(error: OSError) -> None:
    """A folder that is passed over would be a person who is missing, and nobody told."""
    raise SetupError(f"E108 the folder {error.filename} cannot be listed; check its permissions.") from None


def _pairs_once(paths: list[Path]) -> list[Path]:
    """Leave out an .img whose .hdr is there too."""
    headers = {_stem(p) for p in paths if suffix(p).startswith(".hdr")}
    return [p for p in paths if not (suffix(p).startswith(".img") and _stem(p) in headers)]


def _stem(path: Path) -> Path:
    return path.with_name(path.name[: len(path.name) - len(suffix(path))])
