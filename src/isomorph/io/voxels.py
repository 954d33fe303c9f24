"""From stored bytes to finite float32, whatever the type, the byte order and the scale."""

from __future__ import annotations

import numpy as np

from isomorph.errors import Refusal
from isomorph.io.header import Header
from isomorph.io.names import Notice

SANE = (1e-15, 1e15)  # outside, products underflow or overflow in float32


def values(header: Header, data: bytes | bytearray, frame: int | str) -> tuple[np.ndarray, list[Notice], float]:
    """Voxels as finite float32 in C order, and the factor that brought them into range.

    Parameters
    ----------
    header : Header
    data : bytes-like
        The file up to the end of the frame, at least.
    frame : int or "mean"

    Returns
    -------
    (I, J, K) array, list of Notice, float

    Raises
    ------
    Refusal
        E501 not one finite voxel.
    """
    notices: list[Notice] = []
    count = int(np.prod(header.grid))
    start = 0 if frame == "mean" else int(frame) * count
    stored = np.frombuffer(
        data,
        header.dtype,
        count=header.voxels if frame == "mean" else count,
        offset=header.offset + start * header.dtype.itemsize,
    )
    if header.frames > 1:
        used = "mean of all" if frame == "mean" else f"frame {frame}"
        notices.append(Notice("W201", f"{header.frames} images in one file; {used} used"))
    if header.dtype.kind == "c":
        notices.append(Notice("W301", "complex values; magnitude used"))
        stored = np.abs(stored)
    with np.errstate(all="ignore"):  # what overflows here is counted below
        if frame == "mean":
            stored = stored.reshape(header.frames, count).mean(axis=0, dtype=np.float64)
        x = stored
        if (header.slope, header.inter) != (1.0, 0.0):
            x = stored.astype(np.float64) * header.slope + header.inter
        x, bad = _finite(x)
        x, factor = _in_range(x)
    if bad:
        notices.append(Notice("W501", f"{bad} voxels are NaN or infinite; background used"))
    grid = x.reshape(header.grid, order="F")
    return np.ascontiguousarray(grid, dtype=np.float32), notices, factor


def _finite(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace what is not finite by the background: 0, or the low end where values go below."""
    if x.dtype.kind != "f":
        return x, 0
    good = np.isfinite(x)
    bad = x.size - int(good.sum())
    if bad == 0:
        return x, 0
    if bad == x.size:
        raise Refusal("E501", "every voxel is NaN or infinite", "export the scan again")
    low = np.percentile(x[good][:: max(1, x.size // 1_000_000)], 0.5)
    return np.where(good, x, np.minimum(low, 0) if low < 0 else 0), bad


def _in_range(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Bring values that float32 cannot hold, or not square, into a sane range by a power of two."""
    if x.dtype.kind != "f":
        return x, 1.0
    size = np.abs(x[:: max(1, x.size // 1_000_000)])
    peak = float(np.percentile(size, 99.9)) or float(size.max())
    factor = 1.0
    if peak and not SANE[0] < peak < SANE[1]:
        factor = 2.0 ** float(np.clip(10 - np.floor(np.log2(peak)), -1000, 1000))
    if x.dtype.itemsize == 8 or factor != 1.0:
        # One wild voxel must not become infinite where the others are fine.
        x = np.clip(x.astype(np.float64) * factor, -1e30, 1e30)
    return x, factor
