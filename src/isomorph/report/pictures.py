"""A volume in three planes, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import not_installed
from ..intensity import percentiles
from ..space import Shape, canonical_grid, resample
from ..volume import Volume

DPI = 100
PLANES = ((0, "P", "A"), (1, "L", "R"), (2, "L", "R"))  # axis cut, letters at the left and right of the picture


def drawing() -> tuple[Any, Any]:
    """What figures are made with; asked for before the work, so that it is not missing after it.

    Raises
    ------
    SetupError
        If matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise not_installed("drawing", "matplotlib", "report") from None
    return Figure, FigureCanvasAgg


def draw(volume: Volume, *, like: Volume | None = None, window: tuple[float, float] | None = None) -> bytes:
    """Draw sagittal, coronal and axial slices through the middle; left is on the left.

    Parameters
    ----------
    volume : Volume
        The first channel is shown.
    like : Volume, optional
        Draw the same slices as of this one.
    window : (low, high), optional
        Intensities shown black and white; the 0.5 and 99.5 percentiles if not given.

    Returns
    -------
    bytes
        A PNG without text chunks.

    Raises
    ------
    SetupError
        If matplotlib is missing.
    """
    figure_class, canvas_class = drawing()
    where = canonical_grid(volume if like is None else like)
    grid = _onto(volume, *where)
    low, high = window or tuple(percentiles(grid.data, 0.5, 99.5))
    guide = (grid if like is None else _onto(like, *where)).data[0]  # the same slices in both pictures
    figure = figure_class(figsize=(9, 3.2), dpi=DPI, facecolor="black")
    for place, (axis, start, end) in enumerate(PLANES):
        panel = figure.add_axes((place / 3, 0, 1 / 3, 1))
        panel.imshow(
            grid.data[0].select(axis, _middle(guide, axis)).T.numpy(),
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            origin="lower",
        )
        panel.set_axis_off()
        for letter, at in ((start, 0.04), (end, 0.93)):
            panel.text(at, 0.5, letter, color="#e0a030", transform=panel.transAxes)
    buffer = io.BytesIO()
    canvas_class(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _onto(volume: Volume, shape: Shape, affine: np.ndarray) -> Volume:
    """The first channel, with axes in the order right, anterior, superior."""
    grid = Volume(volume.data[:1].float().cpu(), volume.affine)
    same = grid.shape == tuple(shape) and np.allclose(grid.affine, affine)
    return grid if same else resample(grid, shape, affine)


def _middle(x: torch.Tensor, axis: int) -> int:
    """Index of the slice through the middle of what is bright."""
    bright = x > 0.2 * x.max()
    others: Sequence[int] = [a for a in range(3) if a != axis]
    counts = bright.sum(dim=others).float()
    return int((counts * torch.arange(len(counts))).sum() / counts.sum().clamp(min=1))
