"""How large is the image, and where? From the header alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from isomorph.io import container, geometry
from isomorph.io.names import suffix
from isomorph.io.reader import PEEK, parse, partner

BLOCK = 1 << 20  # bytes: bz2 gives nothing before a whole block, of up to 900 kB, is there


def outline(path: str | os.PathLike[str]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Grid and affine of an image, before a voxel is read.

    Parameters
    ----------
    path : path

    Returns
    -------
    shape : (I, J, K)
    affine : (4, 4) array, mm

    Raises
    ------
    Refusal
        As `read`, where the header tells.
    """
    file, _ = partner(Path(path)) or (Path(path), None)
    with container.opened(file) as stream:
        raw = stream.read(PEEK)
        packed = container.compression(raw)
        raw += stream.read(BLOCK) if packed == "bz2" else b""
    header = parse(container.peek(raw, packed, PEEK), raw, packed, suffix(file))
    return header.grid, geometry.decide(header.claims).affine
