"""Pictures of the same few samples at each validation: one look tells more than a score."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..place import place

BRIGHTEST = 1.2  # white matter is 1


def draw(path: Path, rows: Sequence[Sequence[Tensor]]) -> None:
    """Write a sheet: a row for each sample, each image cut through its middle in three planes.

    Nothing is written where matplotlib is not installed.

    Parameters
    ----------
    path : of a ``.png``
    rows : of (I, J, K) tensors
        White matter at 1.
    """
    try:
        from matplotlib.image import imsave
    except ImportError:
        return
    sheet = np.concatenate([np.concatenate([_planes(image) for image in row], 1) for row in rows], 0)
    content = io.BytesIO()
    imsave(content, sheet, cmap="gray", vmin=0, vmax=BRIGHTEST, format="png")
    path.parent.mkdir(exist_ok=True)
    place(path, content.getvalue())


def _planes(image: Tensor) -> np.ndarray:
    """Axial, coronal and sagittal, from left to right; up is anterior or superior."""
    i, j, k = (n // 2 for n in image.shape)
    side = max(image.shape)
    planes = []
    for plane in (image[:, :, k], image[:, j], image[i]):
        field = torch.zeros(side, side)
        field[: plane.shape[0], : plane.shape[1]] = plane
        planes.append(field.T.flip(0))
    return torch.cat(planes, 1).numpy()
