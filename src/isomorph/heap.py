"""Memory that was freed: kept for what comes next or, where it is scarce, given back at once."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # as malloc.h of glibc numbers them
ALL = 2**31 - 1
SAID = {"MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"}
OWN = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}  # where glibc gets to by itself, at most


KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: ALL}
SPARED = {MMAP_THRESHOLD: 1 << 20, TRIM_THRESHOLD: 1 << 20}  # bytes


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed blocks until the end, then give all of them back.

    The C library gives every block above 32 MB back to the system at once, and gets the next one page by page, cleared:
    a quarter of the time of a network on a processor. The setting is that of the whole process, other threads included;
    where two ask for it at a time, the first to end ends it, which costs the other nothing but time. Afterwards glibc
    has the thresholds `OWN`, and moves them no more. Nothing is done where the C library is not glibc, or where the
    environment says what it is to do.
    """
    with _told(KEPT):
        yield


@contextmanager
def spared_memory() -> Iterator[None]:
    """Give back every freed block above 1 MB: what lies between others would stay, and no peak could be foretold.

    Settings as those of `kept_memory`.
    """
    with _told(SPARED):
        yield


@contextmanager
def _told(settings: dict[int, int]) -> Iterator[None]:
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" and not os.environ.keys() & SAID else None
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    try:
        for name, value in settings.items():
            libc.mallopt(name, value)
        yield
    finally:
        for name, value in OWN.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)
