"""The one way to write a file: at its name is the whole of it or what was there before, whenever a run is killed."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The last two are one number on Linux; macOS has both, and a link on exFAT gives ENOTSUP.
NO_LINK = (errno.EPERM, errno.ENOSYS, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP)
NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # from file systems that flush no folders, such as some of FUSE or a network
KEPT = 100  # bytes of the name that a temporary name repeats


def place(path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True) -> None:
    """Write a file in one step, and keep it through a power cut.

    Parameters
    ----------
    path : path
        In a folder that is there. A link at this place is replaced, never written through.
    content : bytes
    overwrite : bool
        Whether a file at `path` may be replaced.

    Raises
    ------
    FileExistsError
        If it may not.
    OSError
        Whatever else goes wrong; no temporary file stays behind.
    """
    path = Path(path)
    with staged(path, content) as temporary:
        rename(temporary, path, overwrite=overwrite)
        sync(path.parent)


@contextmanager
def staged(path: Path, content: bytes) -> Iterator[Path]:
    """A flushed file of this content in the folder of `path`, under a name that nobody can guess; gone at the end.

    Parameters
    ----------
    path : Path
    content : bytes
    """
    temporary = _hidden(path)
    try:
        # The kernel applies the umask: mkstemp would leave 0600.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def aside(path: Path) -> Iterator[Path | None]:
    """What lies at `path` under a second name too, to be put back should something fail; gone at the end.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path or None
        None if nothing lies there.
    """
    second = _hidden(path)
    try:
        if not os.path.lexists(path):
            yield None
            return
        try:
            os.link(path, second, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            shutil.copy2(path, second, follow_symlinks=False)
        yield second
    finally:
        second.unlink(missing_ok=True)


@contextmanager
def tidied(paths: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """Folders that are made meanwhile for these files are gone at the end, if nothing is in them.

    Parameters
    ----------
    paths : paths of files to come
    """
    missing: set[Path] = set()
    for folder in {Path(path).parent for path in paths}:
        while folder not in missing and not os.path.lexists(folder):
            missing.add(folder)
            folder = folder.parent
    try:
        yield
    finally:
        for folder in sorted(missing, key=lambda x: len(x.parts), reverse=True):  # the deepest first
            with suppress(OSError, ValueError):  # it was never made, or something is in it
                folder.rmdir()


def _hidden(path: Path) -> Path:
    """A name in the folder of `path` that nobody can guess."""
    start = os.fsencode(path.name)[:KEPT].decode(errors="ignore")
    return path.with_name(f".{start}.{uuid.uuid4().hex}.tmp{path.suffix[:KEPT]}")


def rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a file its final name, in one step.

    Raises
    ------
    FileExistsError
        If there is a file at `path` that may not be replaced.
    """
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        # A hard link fails where a file exists; a rename would replace what another process just wrote.
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(temporary, path)


def sync(folder: Path) -> None:
    """Flush a folder, so that new names in it survive a power cut; as far as its file system can."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in NO_SYNC:  # the file is there, whole and flushed: to call that a failure would be wrong
            raise
    finally:
        os.close(fd)
