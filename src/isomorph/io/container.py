"""From a path to verified bytes: opened without trust, read once, decompressed to the end under a cap."""

from __future__ import annotations

import bz2
import errno
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from isomorph.errors import Refusal
from isomorph.io.names import SUPPORTED

CHUNK = 1 << 20  # bytes fed to a decompressor at a time
PIECE = 1 << 24  # bytes asked back at a time: a bomb grows no faster than we count
SLACK = 1 << 26  # bytes beyond the announced image that are worth verifying before giving up

# What else arrives under the name of an image, by its first bytes.
FOREIGN = (
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip or npz archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 or MINC-2 file"),
    (b"CDF", "a MINC-1 file"),
    (b"NRRD", "an NRRD file"),
    (b"\x80\x02", "a Python pickle"),
)


@dataclass(frozen=True)
class Unpacked:
    """Verified bytes.

    Parameters
    ----------
    data : bytes-like
        The first bytes of the stream, at most as many as were asked for.
    length : int
        Bytes in the whole stream.
    junk : bool
        Whether something that is neither padding nor image follows the compressed stream.
    """

    data: bytes | bytearray
    length: int
    junk: bool


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file that is not empty, open for reading; never blocks.

    Raises
    ------
    Refusal
        E101 empty, E108 not readable, whenever that shows, or not a file.
    """
    try:
        # A FIFO would block a plain open for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Refusal("E108", f"cannot be opened ({_reason(error)})", "check the path and its permissions") from None
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        os.close(fd)
        raise Refusal("E108", "is a folder, not a regular file", "give an image file")
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(info.st_mode):
            raise Refusal("E108", "is a pipe or device, not a regular file", "give an image file")
        if info.st_size == 0:
            raise Refusal("E101", "the file is empty", "fetch it again")
        try:
            yield file
        except OSError as error:
            raise Refusal("E108", f"cannot be read ({_reason(error)})", "check the disk, then try again") from None


def slurp(path: str | os.PathLike[str], limit: int) -> bytes:
    """All bytes of a regular file, read once; never blocks, never maps.

    Raises
    ------
    Refusal
        As `opened`, E104 shrank while being read, E205 above `limit` bytes.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Refusal("E205", f"the file has {size / 1e9:.1f} GB, the limit is {limit / 1e9:.1f} GB", BIGGER)
        raw = file.read(size)
    if len(raw) < size:
        raise Refusal("E104", f"the file shrank while being read ({len(raw)} of {size} bytes)", "fetch it again")
    return raw


BIGGER = "give the brain volume alone, or reduce it to float32 or int16"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return {errno.ELOOP: "a link that leads to itself", errno.EACCES: "permission denied"}.get(
            error.errno, os.strerror(error.errno).lower()
        )
    return "the path is not valid"


def compression(raw: bytes) -> str:
    """``gzip``, ``bz2`` or ``none``, by content."""
    if raw[:2] == b"\x1f\x8b":
        return "gzip"
    return "bz2" if raw[:3] == b"BZh" else "none"


def refuse_foreign(start: bytes, *, dicom: bytes = b"") -> None:
    """Refuse what is no image, and say what it is.

    Parameters
    ----------
    start : bytes
        First bytes, decompressed.
    dicom : bytes
        Bytes 128 to 132.

    Raises
    ------
    Refusal
        E102, or E103 for a web page.
    """
    text = start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        raise Refusal("E103", "the file is an HTML page, so the download failed", "fetch it again")
    if dicom == b"DICM":
        raise Refusal("E102", "the file is one DICOM slice", "convert the whole series to NIfTI, by dcm2niix")
    what = next((name for magic, name in FOREIGN if start.startswith(magic)), None)
    if what is None and text and all(9 <= b <= 126 for b in start[:64]):
        what = "a text file"
    if what:
        raise Refusal("E102", f"the file is {what}, not an image", f"convert it to one of {SUPPORTED}")


def peek(raw: bytes, packed: str, size: int) -> bytes:
    """The first bytes of a stream, fewer when it ends or breaks before `size`."""
    if packed == "none":
        return raw[:size]
    engine = zlib.decompressobj(31) if packed == "gzip" else bz2.BZ2Decompressor()
    out = b""
    try:
        for start in range(0, len(raw), CHUNK):
            out += engine.decompress(raw[start : start + CHUNK], size)
            if len(out) >= size or engine.eof:
                break
    except (zlib.error, OSError):
        pass  # `unpack` meets the same error and says so
    return out[:size]


def unpack(raw: bytes, packed: str, *, keep: int, cap: int) -> Unpacked:
    """Decompress to the end, so that checksum and length are verified, and keep the first bytes.

    Parameters
    ----------
    raw : bytes
        The whole file.
    packed : str
        As `compression` says.
    keep : int
        Bytes to keep.
    cap : int
        Bytes after which the stream is refused.

    Raises
    ------
    Refusal
        E104 truncated, E105 checksum mismatch, E205 longer than `cap`.
    """
    if packed == "none":
        return Unpacked(raw, len(raw), False)
    kept, total, junk = bytearray(), 0, False
    try:
        for piece, rest in _gunzip(raw) if packed == "gzip" else _bunzip(raw):
            total += len(piece)
            if total > cap:
                raise Refusal(
                    "E205", f"the stream goes on after {cap} bytes, more than the image needs", "fetch it again"
                )
            if len(kept) < keep:
                kept += memoryview(piece)[: keep - len(kept)]
            junk = rest
    except (zlib.error, OSError, ValueError):
        raise Refusal("E105", f"{packed} checksum mismatch, file is corrupt", "fetch it again") from None
    except EOFError:
        raise Refusal("E104", f"the {packed} stream is truncated after {total} bytes", "fetch it again") from None
    return Unpacked(kept, total, junk)


def _gunzip(raw: bytes) -> Iterator[tuple[bytes, bool]]:
    """Pieces of all members; the flag says whether junk follows."""
    position = 0
    while True:
        engine = zlib.decompressobj(31)
        while not engine.eof:
            feed = engine.unconsumed_tail
            if not feed:
                feed = raw[position : position + CHUNK]
                position += len(feed)
            if not feed:
                raise EOFError
            yield engine.decompress(feed, PIECE), False
        position -= len(engine.unused_data)
        if raw[position : position + 2] != b"\x1f\x8b":
            # Tapes and archives pad with zeros; anything else deserves a word.
            yield b"", raw.count(b"\0", position) != len(raw) - position
            return


def _bunzip(raw: bytes) -> Iterator[tuple[bytes, bool]]:
    position = 0
    while True:
        engine = bz2.BZ2Decompressor()
        while not engine.eof:
            feed = b""
            if engine.needs_input:
                feed = raw[position : position + CHUNK]
                position += len(feed)
                if not feed:
                    raise EOFError
            yield engine.decompress(feed, PIECE), False
        position -= len(engine.unused_data)
        if raw[position : position + 3] != b"BZh":
            yield b"", raw.count(b"\0", position) != len(raw) - position
            return
