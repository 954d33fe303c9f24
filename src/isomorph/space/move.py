"""Moves that keep every value: reorient, mirror, crop, pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.nn.functional import pad

from ..volume import Volume
from .grid import CODES, compose, rotation, to_ras

SAME = 1e-3  # voxels: centres closer than this coincide


def reorient(volume: Volume, codes: str = "RAS") -> Volume:
    """Reorder and flip the axes so that they point as `codes` says; each value stays where it is in the world.

    Parameters
    ----------
    volume : Volume
    codes : three letters
        One of each pair R/L, A/P, S/I: where each axis points to.

    Raises
    ------
    ValueError
        If `codes` is not such a triple.
    """
    worlds = [next((w for w, pair in enumerate(CODES) if code in pair), -1) for code in codes.upper()]
    if sorted(worlds) != [0, 1, 2]:
        raise ValueError(f"{codes!r} is no orientation; give one of each pair R/L, A/P, S/I, such as 'RAS'.")
    order, signs = to_ras(rotation(volume.affine[:3, :3]))
    axes = [order[world] for world in worlds]
    wanted = [float(CODES[world].index(code) * 2 - 1) for world, code in zip(worlds, codes.upper(), strict=True)]
    turned = [axis for axis, (world, sign) in enumerate(zip(worlds, wanted, strict=True)) if signs[world] != sign]
    matrix, origin = volume.affine[:3, axes], volume.affine[:3, 3].copy()
    for axis in turned:
        origin = origin + matrix[:, axis] * (volume.shape[axes[axis]] - 1)
        matrix[:, axis] *= -1
    data = volume.data.permute(0, *(axis + 1 for axis in axes)).flip([axis + 1 for axis in turned])
    return Volume(data.contiguous(), compose(matrix, origin))


def mirror(volume: Volume) -> Volume:
    """Exchange left and right of the content; the grid stays in place.

    Parameters
    ----------
    volume : Volume
    """
    order, _ = to_ras(rotation(volume.affine[:3, :3]))
    return volume.with_data(volume.data.flip(order[0] + 1))


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


def crop_or_pad(volume: Volume, shape: Sequence[int], fill: float = 0.0) -> Volume:
    """Bring to a size, symmetrically; `onto` undoes it.

    Parameters
    ----------
    volume : Volume
    shape : three int
    fill : float
        Value of new voxels.
    """
    start = [-((int(m) - n) // 2) for m, n in zip(shape, volume.shape, strict=True)]
    return window(volume, start, shape, fill)


def pad_to_multiple(volume: Volume, multiple: int, fill: float = 0.0) -> Volume:
    """Pad symmetrically to the next multiple on each axis; `onto` undoes it.

    Parameters
    ----------
    volume : Volume
    multiple : voxels
    fill : float
        Value of new voxels.
    """
    return crop_or_pad(volume, [-(-n // multiple) * multiple for n in volume.shape], fill)


def onto(volume: Volume, shape: Sequence[int], affine: np.ndarray, fill: float = 0.0) -> Volume:
    """Place on another window of the same lattice; undoes any `window`, `crop_or_pad` or `pad_to_multiple`.

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
