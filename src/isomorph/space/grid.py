"""Grids: where a scan lies, and the isotropic grid that covers it."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from ..volume import Volume

Shape = tuple[int, int, int]

STACK = 1.5  # an axis this much coarser than the next one is the direction of a stack of slices
ROUNDING = 0.05  # voxels: headers are written with few digits; 256.01 voxels are 256, not 257
CODES = ("LR", "PA", "IS")  # negative and positive end of each world axis


def corners(shape: Shape, affine: np.ndarray, beyond: float = 0.0) -> np.ndarray:
    """Where a grid ends, in mm.

    Parameters
    ----------
    shape, affine
        Of the grid.
    beyond : voxels
        From the centres of its outermost voxels: 0.5 for their edges.

    Returns
    -------
    (8, 3) array
    """
    ends = np.array(list(product(*[(-beyond, n - 1 + beyond) for n in shape])))
    return ends @ affine[:3, :3].T + affine[:3, 3]


def canonical_grid(volume: Volume, spacing: float = 1.0) -> tuple[Shape, np.ndarray]:
    """Isotropic grid over the field of view of a scan, in its own orientation, axes in RAS order.

    The axes are orthonormal: the nearest rotation to those of the scan, so that shear (the gantry tilt of CT) is taken
    out, while an oblique scan stays oblique and its slices stay perpendicular to one axis of the grid.

    Parameters
    ----------
    volume : Volume
    spacing : mm

    Returns
    -------
    shape : (I, J, K)
        Covers the field of view from voxel edge to voxel edge; of a sheared scan, its bounding box.
    affine : (4, 4) array, mm
        Of positive determinant.
    """
    axes = rotation(volume.affine[:3, :3])
    order, signs = to_ras(axes)
    axes = axes[:, order] * signs
    along = corners(volume.shape, volume.affine, beyond=0.5) @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    shape = np.maximum(np.ceil((high - low) / spacing - ROUNDING), 1)
    first = (low + high) / 2 - (shape - 1) / 2 * spacing
    i, j, k = shape.astype(int).tolist()
    return (i, j, k), compose(axes * spacing, axes @ first)


def rotation(matrix: np.ndarray) -> np.ndarray:
    """Nearest orthonormal axes (a reflection where the scan is one), by polar decomposition."""
    size = np.linalg.norm(matrix, axis=0)
    axes = matrix / size
    thick = int(size.argmax())
    a, b = (axis for axis in range(3) if axis != thick)
    if size[thick] > STACK * max(size[a], size[b]):
        # A tilted gantry shifts the slices and does not turn them: keep their plane, not the way the table moved.
        normal = np.cross(axes[:, a], axes[:, b])
        axes[:, thick] = normal / np.linalg.norm(normal) * np.sign(normal @ axes[:, thick])
    left, _, right = np.linalg.svd(axes)
    return left @ right


def to_ras(axes: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Which voxel axis runs nearest to each world axis, and in which sense.

    The best assignment of orthonormal axes always has a trace above 1, so the reordered axes are a proper rotation.
    """
    strength = np.abs(axes).round(6)  # ties are settled by the order, not by the last digit
    order = max(permutations(range(3)), key=lambda p: sum(strength[world, voxel] for world, voxel in enumerate(p)))
    return list(order), np.array([1.0 if axes[world, voxel] >= 0 else -1.0 for world, voxel in enumerate(order)])


def axis_codes(affine: np.ndarray) -> str:
    """Where the voxel axes point, such as ``"RAS"`` or ``"LIA"``.

    Parameters
    ----------
    affine : (4, 4) array
    """
    order, signs = to_ras(rotation(np.asarray(affine)[:3, :3]))
    letters = {voxel: CODES[world][int(signs[world] > 0)] for world, voxel in enumerate(order)}
    return "".join(letters[voxel] for voxel in range(3))


def compose(matrix: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(4, 4) affine from its (3, 3) matrix and its origin in mm."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, origin
    return affine
