"""File names: what is an image, where its sidecar lies, and how a name may enter a message."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isomorph.errors import escape

# Longest first, so that ".nii.gz" wins over ".gz".
SUFFIXES = (".nii.gz", ".nii.bz2", ".hdr.gz", ".img.gz", ".mgh.gz", ".nii", ".hdr", ".img", ".mgh", ".mgz")
SUPPORTED = ".nii .nii.gz .nii.bz2 .mgh .mgz .hdr/.img"
SIDECAR_BYTES = 1 << 20
MARK = "desc-synth"  # the part of a name that is ours alone; desc-synthstrip is not
__all__ = [
    "MARK",
    "SUFFIXES",
    "SUPPORTED",
    "Notice",
    "bare",
    "described",
    "escape",
    "is_ours",
    "sidecar",
    "sidecar_path",
    "suffix",
]


@dataclass(frozen=True)
class Notice:
    """Something a user should know about an image that is used all the same.

    Parameters
    ----------
    code : str
        ``W###``, as listed in ``docs/codes.md``.
    message : str
        One line.
    """

    code: str
    message: str


def suffix(path: str | os.PathLike[str]) -> str:
    """The image suffix in lower case, or an empty string: ``A.NII.GZ`` has ``.nii.gz``."""
    name = Path(path).name.lower()
    return next((s for s in SUFFIXES if name.endswith(s) and name != s), "")


def bare(path: str | os.PathLike[str]) -> str:
    """The name of an image without its suffix."""
    name = Path(path).name
    return name[: len(name) - len(suffix(path))]


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the JSON that describes an image lies: beside it, same name, ``.json``."""
    path = Path(path)
    return path.with_name(bare(path) + ".json")


def sidecar(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON beside an image; empty where there is none, or none that can be read."""
    try:
        fd = os.open(sidecar_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_size > SIDECAR_BYTES:
                return {}
            content = json.loads(file.read(SIDECAR_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether the name, or a sidecar that describes this very file, says that isomorph made this image."""
    name = Path(path).name.lower()
    if MARK in name[: len(name) - len(suffix(name))].split("_"):
        return True
    content = sidecar(path)
    return content.get("synthetic") is True and content.get("tool") == "isomorph" and described(path, content)


def described(path: str | os.PathLike[str], content: dict[str, Any]) -> bool:
    """Whether a sidecar's size and checksum are those of an image.

    Parameters
    ----------
    path : path of the image
    content : dict
        Of the sidecar.
    """
    output = content.get("output")
    if not isinstance(output, dict):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_size != output.get("size"):
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == output.get("sha256")
    except OSError:
        return False
