"""Where an image may be written: everything that can be known to go wrong is known before the work."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from isomorph.errors import Refusal, SetupError, UsageError, escape
from isomorph.io.names import SUFFIXES, bare, described, sidecar, sidecar_path, suffix

WRITABLE = (".nii.gz", ".nii", ".mgz", ".mgh")
NAME_MAX = 255  # bytes, on every file system that matters
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PathLike = str | os.PathLike[str]


class Guard:
    """Inputs that must never be written to, with what belongs to them: the other half of a pair, the JSON.

    Parameters
    ----------
    inputs : paths
    """

    def __init__(self, inputs: Iterable[PathLike]) -> None:
        self._files: dict[tuple[int, int], Path] = {}
        self._jsons: dict[str, Path] = {}
        for source in map(Path, inputs):
            self._jsons.setdefault(_place(sidecar_path(source)), source)
            for file in (source, *_halves(source), sidecar_path(source)):
                if (known := identity(file)) is not None:
                    self._files.setdefault(known, source)

    def harmed(self, path: PathLike) -> Path | None:
        """The input that would be harmed by writing an image and its sidecar here, if any."""
        beside = sidecar_path(path)
        for file in (Path(path), beside):
            if (known := identity(file)) in self._files and known is not None:
                return self._files[known]
        return self._jsons.get(_place(beside))


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode: two names may lead to one file. None where there is none, or none that may be seen."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _place(path: Path) -> str:
    """One spelling for each place; some file systems take A and a for one name, so we do too."""
    return os.path.join(os.path.realpath(path.parent), path.name.casefold())


def _halves(path: Path) -> list[Path]:
    """What an .hdr and an .img may be accompanied by."""
    end = suffix(path)
    if not end.startswith((".hdr", ".img")):
        return []
    stem = path.name[: len(path.name) - len(end)]
    return [path.with_name(stem + e + z) for e in (".hdr", ".img", ".HDR", ".IMG") for z in ("", ".gz")]


def check_output(
    path: PathLike,
    *,
    inputs: Iterable[PathLike] = (),
    overwrite: bool = False,
    root: PathLike | None = None,
    json: bool = True,
) -> Path:
    """Everything that can be known to go wrong with an output, before the work; makes its folder.

    Parameters
    ----------
    path : path
        Of the image to come: .nii.gz, .nii, .mgz or .mgh.
    inputs : paths
        Files that must never be written to, nor what belongs to them.
    overwrite : bool
        Whether an image at `path`, and a sidecar of isomorph beside it, may be replaced. Other JSON never is.
    root : path, optional
        Folder that the output must stay in, links resolved.
    json : bool
        Whether a sidecar will be written too. If not, JSON beside `path` is no obstacle, unless it is `outdated`.

    Raises
    ------
    UsageError
        Another extension.
    Refusal
        E701 output is an input, E704 name too long, E705 output exists, E706 output is or lies behind a link.
    SetupError
        E702 the folder cannot be written.
    """
    path = Path(path)
    said = escape(path.name)
    if suffix(path) not in WRITABLE:
        raise UsageError(f"output name {said!r} must end in one of {' '.join(WRITABLE)}; add one")
    size = len(os.fsencode(path.name))
    if len(os.fsencode(sidecar_path(path).name)) + 8 > NAME_MAX or size > NAME_MAX:
        raise Refusal("E704", f"output name {said[:40]}... has {size} bytes, {NAME_MAX} are possible", "shorten it")
    try:
        if Guard(inputs).harmed(path) is not None:
            reason = f"the output {said} is the input itself, or shares its JSON"
            raise Refusal("E701", reason, "choose another output name")
        _refuse_links(path, root, json)
        _refuse_present(path, overwrite, json)
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise trouble(error, path) from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise trouble(PermissionError(errno.EACCES, ""), path)
    return path


def outdated(path: PathLike) -> bool:
    """Whether the JSON beside `path` is one of ours that is false of an image written there, and true of no other."""
    path, content = Path(path), sidecar(path)
    others = {path.with_name(bare(path) + end) for end in SUFFIXES} - {path}
    ours = content.get("tool") == "isomorph" and "output" in content
    return ours and not any(described(other, content) for other in others)


def _refuse_links(path: Path, root: PathLike | None, json: bool) -> None:
    for target in (path, sidecar_path(path)) if json else (path,):
        if target.is_symlink():
            raise Refusal("E706", f"{escape(target.name)} is a link, which is never written through", "remove it")
    if root is not None and not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
        reason = f"a folder above {escape(path.name)} is a link that leads out of the output"
        raise Refusal("E706", reason, "remove the link")


def _refuse_present(path: Path, overwrite: bool, json: bool) -> None:
    beside = sidecar_path(path)
    for target in (path, beside) if json or outdated(path) else (path,):
        if target.exists() and (not overwrite or not target.is_file()):
            raise present(target)
    if json and beside.exists() and sidecar(path).get("tool") != "isomorph":
        reason = f"{escape(beside.name)} is not of isomorph and is never replaced"
        raise Refusal("E705", reason, "choose another output or move it away")


def present(path: Path) -> Refusal:
    """The refusal of an output that is there."""
    return Refusal("E705", f"{escape(path.name)} exists already", "choose another output or --overwrite")


def trouble(error: OSError, path: PathLike) -> SetupError:
    """What an error of the file system means to who wants to write a file."""
    said = escape(Path(path).name)[:40]
    if error.errno in FULL:
        return SetupError(f"E703 no room for {said}, nothing was left behind; make space on the disk, then run again")
    if error.errno == errno.ENAMETOOLONG:
        return SetupError(f"E704 the path of the output {said} is too long; shorten it")
    why = os.strerror(error.errno).lower() if error.errno else "unknown error"
    return SetupError(f"E702 {said} cannot be written ({why}); choose another folder or change its permissions")
