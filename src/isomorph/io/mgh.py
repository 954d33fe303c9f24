"""FreeSurfer's MGH header (.mgh, and .mgz when compressed), read and written; tags are never parsed."""

from __future__ import annotations

import struct

import numpy as np

from isomorph.errors import Refusal
from isomorph.io.geometry import LIA, Claims
from isomorph.io.header import Header, three_axes

OFFSET = 284  # bytes before the voxels
TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
LAYOUT = ">7ih15f"  # version, 4 dims, type, dof, goodRAS, delta, direction cosines, centre


def looks_like(block: bytes) -> bool:
    """Whether the bytes start with an MGH header."""
    return block[:4] == b"\0\0\0\1"


def parse(block: bytes) -> Header:
    """Read the header.

    Raises
    ------
    Refusal
        E104 cut, E201 and E204 shape, E302 type.
    """
    if len(block) < OFFSET:
        raise Refusal("E104", f"the header is truncated (need {OFFSET}, have {len(block)} bytes)", "fetch it again")
    values = struct.unpack_from(LAYOUT, block)
    shape, code, good = values[1:5], values[5], values[7]
    if min(shape) < 1:
        raise Refusal("E201", f"the header states axes of {shape} voxels", "convert the scan again")
    if code not in TYPES:
        raise Refusal(
            "E302", f"voxels have MGH type {code}, which is not supported", "convert to float with mri_convert"
        )
    shape = shape[:3] if shape[3] == 1 else shape
    three_axes(shape)
    pixdim = np.array(values[8:11], dtype=np.float64)
    centre = np.array(shape[:3]) / 2  # where FreeSurfer puts the centre, whatever the flag
    affine = np.eye(4)
    affine[:3, :3] = np.array(values[11:20]).reshape(3, 3).T * pixdim
    affine[:3, 3] = np.array(values[20:23]) - affine[:3, :3] @ centre
    claims = Claims(shape[:3], pixdim, sform=affine, scode=int(good > 0), directions=LIA, centre=centre)
    dtype = np.dtype(TYPES[code]).newbyteorder(">")
    return Header("mgh", shape, dtype, OFFSET, 1.0, 0.0, claims, footer=True)


def build(shape: tuple[int, ...], affine: np.ndarray, dtype: np.dtype) -> bytes:
    """A new header, nothing but place and type.

    Parameters
    ----------
    shape : tuple of int
        Three or four axes.
    affine : (4, 4) array
        Voxel to world, RAS+, mm.
    dtype : np.dtype
        One of `TYPES`.
    """
    code = next(c for c, t in TYPES.items() if np.dtype(t) == dtype.newbyteorder("="))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    centre = affine[:3, :3] @ (np.array(shape[:3]) / 2) + affine[:3, 3]
    dims = (*shape, 1)[:4]
    cosines = (affine[:3, :3] / sizes).T.ravel()
    return struct.pack(LAYOUT, 1, *dims, code, 0, 1, *sizes, *cosines, *centre).ljust(OFFSET, b"\0")
