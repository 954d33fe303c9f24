"""Pure geometry, mm in, Volume out: the only functions that change where an image is.

Conventions, kept everywhere: voxel indices are those of voxel centres, a voxel is a box from ``i - 0.5`` to
``i + 0.5``, and the field of view is the union of these boxes. Between the first and the last centre values are
interpolated; in the outer half voxel the edge is extended; beyond it is `fill`. The training
generator interpolates between slices in the same way, but never leaves its grid: it extends the edge and knows no fill.
"""

from .grid import Shape, axis_codes, canonical_grid, corners
from .move import mirror, onto, sideways, window
from .reliability import pooled, reliability
from .resample import field_of_view, resample

__all__ = [
    "Shape",
    "axis_codes",
    "canonical_grid",
    "corners",
    "field_of_view",
    "mirror",
    "onto",
    "pooled",
    "reliability",
    "resample",
    "sideways",
    "window",
]
