"""Moves that keep every value: mirror, crop, pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.nn.functional import pad

from ..volume import Volume
from .grid import compose, rotation, to_ras

SAME = 1e-3  # voxels: centres closer than this coincide


def mirror(volume: Volume) -> Volume:
    """Exchange left and right of the content; the grid stays in place.

    Parameters
    ----------
    volume : Volume
    """
    return volume.with_data(volume.data.flip(sideways(volume) + 1))


def sideways(volume: Volume) -> int:
    """Which axis of the grid, 0 to 2, runs most nearly from left to right.

    Parameters
    ----------
    volume : Volume
    """
    order, _ = to_ras(rotation(volume.affine[:3, :3]))
    return order[0]


def window(volume: Volume, start: Sequence[int], shape: Sequence[int], fill: float = 0.0) -> Volume:
    """Cut a box of voxels out, or pad where the box reaches beyond the grid.

    Parameters
    ----------
    volume : Volume
    start : three int
        Index of the first voxel of the box; may be negative.
    shape : three int
        Size of the box.
    fill : float
        Value beyond the grid.
    """
    before = [-int(s) for s in start]
    after = [int(s) + int(m) - n for s, m, n in zip(start, shape, volume.shape, strict=True)]
    sides = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
    data = pad(volume.data, sides, value=fill) if any(sides) else volume.data
    origin = volume.affine[:3, :3] @ np.asarray(start, dtype=np.float64) + volume.affine[:3, 3]
    return Volume(data, compose(volume.affine[:3, :3], origin))


def onto(volume: Volume, shape: Sequence[int], affine: np.ndarray, fill: float = 0.0) -> Volume:
    """Place on another window of the same lattice; undoes any `window`.

    Parameters
    ----------
    volume : Volume
    shape, affine
        Of the wanted grid.
    fill : float
        Value where `volume` has none.

    Raises
    ------
    ValueError
        If voxel centres of the two grids do not coincide; `resample` is for that.
    """
    move = np.linalg.inv(volume.affine) @ affine
    start = move[:3, 3].round()
    if np.abs(move[:3, :3] - np.eye(3)).max() > SAME or np.abs(move[:3, 3] - start).max() > SAME:
        raise ValueError("The two grids do not share voxel centres; use resample.")
    return Volume(window(volume, start.astype(int).tolist(), shape, fill).data, affine)
