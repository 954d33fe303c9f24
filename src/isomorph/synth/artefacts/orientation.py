"""Which way the slices of a scan lie."""

from __future__ import annotations

from ...volume import Volume

STACK = 1.3  # an axis this much coarser than the others is that across the slices


def across(x: Volume, axis: int) -> int:
    """The axis across the slices: the coarsest, or the one given where the voxels are nearly cubes.

    Parameters
    ----------
    x : Volume
    axis : 0, 1 or 2
    """
    order = sorted(range(3), key=lambda k: x.spacing[k])
    return order[2] if x.spacing[order[2]] > STACK * x.spacing[order[1]] else axis


def in_plane(x: Volume, axis: int) -> list[int]:
    """The two axes along the slices."""
    return [k for k in range(3) if k != across(x, axis)]
