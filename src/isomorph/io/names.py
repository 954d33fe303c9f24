"""File names: what is an image, where its sidecar lies, and how a name may enter a message."""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Longest first, so that ".nii.gz" wins over ".gz".
SUFFIXES = (".nii.gz", ".nii.bz2", ".hdr.gz", ".img.gz", ".mgh.gz", ".nii", ".hdr", ".img", ".mgh", ".mgz")
SUPPORTED = ".nii .nii.gz .nii.bz2 .mgh .mgz .hdr/.img"
SIDECAR_BYTES = 1 << 20


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


def escape(name: object) -> str:
    """A name that is safe in one line of a log: control, ANSI and bidi characters are written out."""
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in unsafe else c for c in os.fspath(str(name))
    )


def suffix(path: str | os.PathLike[str]) -> str:
    """The image suffix in lower case, or an empty string: ``A.NII.GZ`` has ``.nii.gz``."""
    name = Path(path).name.lower()
    return next((s for s in SUFFIXES if name.endswith(s) and name != s), "")


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the JSON that describes an image lies: beside it, same name, ``.json``."""
    path = Path(path)
    return path.with_name(path.name[: len(path.name) - len(suffix(path))] + ".json")


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
    """Whether the name or the sidecar says that isomorph made this image."""
    entities = Path(path).name.lower().split("_")
    if any(e.startswith("desc-synth") for e in entities):
        return True
    content = sidecar(path)
    return content.get("synthetic") is True and content.get("tool") == "isomorph"
