"""The only room that touches image files: read without trust, write so that what is there is complete."""

from isomorph.io.find import survey
from isomorph.io.names import Notice, described, escape, sidecar, sidecar_path
from isomorph.io.outline import outline
from isomorph.io.reader import Scan, Verdict, check, digest, load, read
from isomorph.io.target import Guard, check_output
from isomorph.io.writer import Output, save, write, write_all

__all__ = [
    "Guard",
    "Notice",
    "Output",
    "Scan",
    "Verdict",
    "check",
    "check_output",
    "described",
    "digest",
    "escape",
    "load",
    "outline",
    "read",
    "save",
    "sidecar",
    "sidecar_path",
    "survey",
    "write",
    "write_all",
]
