"""A contact sheet: many samples, each image of them in three planes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..labels import CLUSTER, CLUSTERS
from .pictures import DPI, drawing

INCH = 1.3  # of a plane
BRIGHTEST = 1.2  # shown white: bright tissue is at 1
GOLDEN = 0.618034  # of the colour circle between one label and the next: neighbours differ
PLANES = (2, 1, 0)  # axial, coronal, sagittal, from above to below


def contact_sheet(rows: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """Draw samples one below the other, their images side by side, each in three planes; left is on the left.

    Parameters
    ----------
    rows : name of a sample to its images, each a name and an (I, J, K) tensor
        Axes along R, A, S; grey images with bright tissue at 1; integers are labels and become colours.

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
    columns = max(len(images) for images in rows.values())
    size = columns * INCH, len(rows) * (len(PLANES) * INCH + 0.25)
    figure = figure_class(figsize=size, dpi=DPI, facecolor="black")
    down = [0.25 / INCH, *[1.0] * len(PLANES)] * len(rows)
    grid = figure.add_gridspec(
        len(down), columns, height_ratios=down, left=0, right=1, bottom=0, top=1, wspace=0.02, hspace=0.02
    )
    for row, (name, images) in enumerate(rows.items()):
        first = row * (len(PLANES) + 1)
        for column, (title, image) in enumerate(images.items()):
            text = figure.add_subplot(grid[first, column])
            text.set_axis_off()
            said = f"{name}\n{title}" if column == 0 else f"\n{title}"
            style = {"color": "#e0a030", "fontsize": 6, "linespacing": 1.1}
            text.text(0.03, 0.1, said, transform=text.transAxes, parse_math=False, **style)  # a name may hold $
            for place, plane in enumerate(_planes(image), 1):
                panel = figure.add_subplot(grid[first + place, column])
                panel.set_axis_off()
                smooth = "nearest" if plane.ndim == 3 else "antialiased"  # thin slices must not fall between pixels
                panel.imshow(plane, cmap="gray", vmin=0, vmax=BRIGHTEST, origin="lower", interpolation=smooth)
    buffer = io.BytesIO()
    canvas_class(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _planes(image: Tensor) -> Sequence[np.ndarray]:
    """Slices through the middle, as pictures."""
    flat = image.detach().cpu().numpy()
    cuts = [np.swapaxes(flat.take(flat.shape[axis] // 2, axis), 0, 1) for axis in PLANES]
    return cuts if image.is_floating_point() else [_coloured(cut) for cut in cuts]


def _coloured(labels: np.ndarray) -> np.ndarray:
    """A colour for each label, the same in every picture; background black, levels of brightness grey, and those of a
    structure in its colour."""
    structure, level = np.divmod(labels - CLUSTER, CLUSTERS)  # 30 without a name, then 30 for each
    shade = (level / CLUSTERS)[..., None] * np.where((structure > 0)[..., None], _colours(structure), 1.0)
    return np.where((labels >= CLUSTER)[..., None], shade, _colours(labels) * (labels > 0)[..., None]).clip(0, 1)


def _colours(numbers: np.ndarray) -> np.ndarray:
    hue = (numbers * GOLDEN % 1)[..., None]
    return 0.25 + 0.7 * np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
