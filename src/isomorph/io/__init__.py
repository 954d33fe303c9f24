"""The only room that touches image files: read without trust, write so that what is there is complete."""

from isomorph.io.find import find
from isomorph.io.names import Notice, escape, sidecar_path
from isomorph.io.reader import Scan, Verdict, check, load, read
from isomorph.io.writer import check_output, save, write

__all__ = [
    "Notice",
    "Scan",
    "Verdict",
    "check",
    "check_output",
    "escape",
    "find",
    "load",
    "read",
    "save",
    "sidecar_path",
    "write",
]
