"""NIfTI-1, NIfTI-2 and Analyze 7.5 headers, read field by field from bytes; nothing in them is believed yet."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
from nibabel import nifti1, nifti2

from isomorph.errors import Refusal
from isomorph.io.geometry import Claims, quaternion_affine
from isomorph.io.header import Header, three_axes
from isomorph.io.names import Notice

# Data type codes of the standard that hold one number per voxel.
TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    32: "c8",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
    1792: "c16",
}
COLOUR = (128, 2304)
UNITS = {1: 1000.0, 3: 0.001}  # of 1 mm; everything else counts as mm
Order = Literal["<", ">"]
ORDERS: tuple[Order, Order] = ("<", ">")
EXTREME = 1e15  # slopes beyond this or its inverse are converter bugs
MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")


def looks_like(block: bytes, name: str) -> bool:
    """Whether the bytes start with a header of this family; `name` is the suffix, needed for Analyze."""
    if block[344:348] in MAGIC[:2] or block[4:8] in MAGIC[2:]:
        return True
    size = block[:4] in (struct.pack("<i", 348), struct.pack(">i", 348))
    return size and (len(block) < 348 or name.startswith(".hdr"))


def parse(block: bytes, name: str) -> Header:
    """Read the header.

    Parameters
    ----------
    block : bytes
        The start of the file, extensions included as far as possible.
    name : str
        Suffix of the file, which alone tells Analyze from damage.

    Raises
    ------
    Refusal
        E104 cut, E106 voxel offset, E201, E202 and E204 shape, E301 and E302 type, E303 scaling.
    """
    two = block[4:8] in MAGIC[2:]
    length = 540 if two else 348
    if len(block) < length:
        raise Refusal("E104", f"the header is truncated (need {length}, have {len(block)} bytes)", "fetch it again")
    fields, order, notices = _fields(block, two)
    magic = block[4:8] if two else block[344:348]
    analyze = magic not in MAGIC
    pair = analyze or magic[:2] == b"ni"
    shape = _shape(fields)
    dtype, more = _dtype(fields, order)
    notices += more
    slope, inter, more = _scaling(fields, analyze)
    notices += more
    offset, exact, more = _offset(fields, block, length, pair)
    with np.errstate(all="ignore"):  # a signalling NaN in a field is judged later
        claims = _claims(fields, shape, analyze)
    return Header(
        kind="analyze" if analyze else "nifti2" if two else "nifti1",
        shape=shape,
        dtype=dtype,
        offset=offset,
        slope=slope,
        inter=inter,
        claims=claims,
        notices=(*notices, *more),
        pair=pair,
        exact=exact,
        ours=not analyze and _ours(bytes(fields["descrip"])),
    )


def _ours(descrip: bytes) -> bool:
    return descrip.startswith(b"isomorph ") and b"synthetic" in descrip


def _fields(block: bytes, two: bool) -> tuple[Any, Order, list[Notice]]:
    """The raw fields in the byte order that makes sense of them."""
    spec, size = (nifti2.header_dtype, 540) if two else (nifti1.header_dtype, 348)
    notices: list[Notice] = []
    good: list[Order] = [o for o in ORDERS if block[:4] == struct.pack(o + "i", size)]
    order: Order = good[0] if good else "<"
    if not good:
        position = 16 if two else 40
        code = "q" if two else "h"
        order = "<" if 1 <= struct.unpack_from("<" + code, block, position)[0] <= 7 else ">"
        notices.append(
            Notice("W103", f"header size field says {struct.unpack_from(order + 'i', block)[0]}, not {size}; ignored")
        )
    return np.frombuffer(block, dtype=np.dtype(spec).newbyteorder(order), count=1)[0], order, notices


def _shape(fields: Any) -> tuple[int, ...]:
    dims = [int(d) for d in fields["dim"]]
    if not 1 <= dims[0] <= 7:
        raise Refusal("E201", f"the header states {dims[0]} dimensions, 1 to 7 are possible", "convert the scan again")
    shape = tuple(dims[1 : dims[0] + 1])
    if min(shape) < 1:
        raise Refusal("E201", f"the header states axes of {shape} voxels", "convert the scan again")
    three_axes(shape)
    return shape


def _dtype(fields: Any, order: Order) -> tuple[np.dtype, list[Notice]]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code in COLOUR:
        raise Refusal("E301", "voxels are colours: a screenshot or a map, not a scan", "give the original scan")
    if code not in TYPES:
        raise Refusal("E302", f"voxels have data type {code}, which is not supported", "convert to float32 or int16")
    dtype = np.dtype(TYPES[code]).newbyteorder(order)
    if dtype.itemsize * 8 == bits:
        return dtype, []
    return dtype, [Notice("W103", f"header says {bits} bits per voxel for a {dtype.itemsize * 8}-bit type; type used")]


def _scaling(fields: Any, analyze: bool) -> tuple[float, float, list[Notice]]:
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if analyze:  # SPM keeps a factor here, others anything
        return (slope if np.isfinite(slope) and slope > 0 else 1.0), 0.0, []
    if slope == 0:
        return 1.0, 0.0, []
    if not np.isfinite(slope):
        return 1.0, 0.0, [Notice("W302", f"scale factor is {slope}; stored values used")]
    if not np.isfinite(inter):
        raise Refusal("E303", f"the intensity offset is {inter}", "repair scl_inter in the header")
    if slope < 0:
        return slope, inter, [Notice("W304", f"scale factor is negative ({slope:g}): contrast may be inverted")]
    if not 1 / EXTREME < slope < EXTREME:
        return slope, inter, [Notice("W303", f"scale factor is extreme ({slope:g}); values rescaled")]
    return slope, inter, []


def _offset(fields: Any, block: bytes, length: int, pair: bool) -> tuple[int, bool, list[Notice]]:
    """Where the voxels start; whether that holds only if the file ends with them."""
    offset = float(fields["vox_offset"])
    least = 0 if pair else length + 4
    if offset == 0 and not pair:
        return least, True, [Notice("W104", f"voxel offset is 0; {least} used")]
    if not np.isfinite(offset) or offset < least or offset != int(offset):
        raise Refusal("E106", f"the voxel offset is {offset:g}, at least {least} is needed", "convert the scan again")
    return int(offset), False, [] if pair else _extensions(block, length, int(offset))


def _extensions(block: bytes, length: int, offset: int) -> list[Notice]:
    """Walk the sizes of the header extensions; their content is never looked at."""
    position = length + 4
    order = "<" if block[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
    while block[length : length + 1] != b"\0" and position + 8 <= min(offset, len(block)):
        (size,) = struct.unpack_from(order + "i", block, position)
        if size < 8 or position + size > offset:
            return [Notice("W105", "a header extension is damaged; extensions ignored")]
        position += size
    return []


def _claims(fields: Any, shape: tuple[int, ...], analyze: bool) -> Claims:
    pixdim = np.array(fields["pixdim"], dtype=np.float64)
    grid = (shape[0], shape[1], shape[2])
    if analyze:
        return Claims(grid, pixdim[1:4])
    sform = np.eye(4)
    sform[:3] = [fields["srow_x"], fields["srow_y"], fields["srow_z"]]
    offset = np.array([fields["qoffset_x"], fields["qoffset_y"], fields["qoffset_z"]], dtype=np.float64)
    b, c, d = (float(fields[f"quatern_{x}"]) for x in "bcd")
    return Claims(
        shape=grid,
        pixdim=pixdim[1:4],
        qform=quaternion_affine(b, c, d, offset, pixdim[1:4], float(pixdim[0])),
        sform=sform,
        qcode=int(fields["qform_code"]),
        scode=int(fields["sform_code"]),
        unit=UNITS.get(int(fields["xyzt_units"]) & 7, 1.0),
    )
