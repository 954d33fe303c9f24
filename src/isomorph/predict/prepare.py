"""From any scan to what the network was trained on: 1 mm, axes in RAS order, air at 0 and bright tissue at 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from ..intensity import FOREGROUND, normalise, robust_range, soft_tissue
from ..space import Shape, canonical_grid, field_of_view, reliability, resample, window
from ..volume import Volume

POOL = 4  # mm: specks of noise are no head
MARGIN = 16  # mm kept around the head
WORTH = 0.8  # crop when the rest is less than this share


@dataclass(frozen=True, eq=False)
class Prepared:
    """Input of the network, and the way back.

    Parameters
    ----------
    image : Volume, (1, I, J, K)
        Normalised, cropped and padded.
    shape, affine
        Of the whole 1 mm grid, which the output will have.
    view : (I, J, K) tensor of bool
        Which voxels of that grid the scan has seen.
    window : (low, high)
        Intensities of the scan that became 0 and 1.
    """

    image: Volume
    shape: Shape
    affine: np.ndarray
    view: Tensor
    window: tuple[float, float]


def prepare(volume: Volume, multiple: int, *, ct: bool = False) -> Prepared:
    """Resample, normalise, crop to the head and pad.

    Parameters
    ----------
    volume : Volume, (1, I, J, K)
        Finite.
    multiple : voxels
        What each axis of the result must be a multiple of.
    ct : bool
        In Hounsfield units: clipped to 0 to 80 before resampling, so that bone does not bleed into the brain.
    """
    if ct:
        volume = volume.with_data(soft_tissue(volume.data))
    shape, affine = canonical_grid(volume)
    view = field_of_view(volume, shape, affine)
    image = resample(volume, shape, affine)
    seen = image.data if view.all() else image.data[:, view]
    low, high = robust_range(seen)
    image = image.with_data(normalise(image.data, low, high) * view)  # what lies outside is air, whatever `low` is
    start, size = head_box(image.data[0])
    grown = [-(-n // multiple) * multiple for n in size]
    start = [s - (m - n) // 2 for s, m, n in zip(start, grown, size, strict=True)]  # into the image, then beyond it
    return Prepared(window(image, start, grown), shape, affine, view, (low, high))


def head_box(x: Tensor) -> tuple[Shape, Shape]:
    """Box around everything that is not air, with a margin; the whole image if that saves little.

    Parameters
    ----------
    x : (I, J, K) tensor
        Normalised, 1 mm.

    Returns
    -------
    start, shape : (I, J, K)
    """
    whole = (0, 0, 0), (x.shape[0], x.shape[1], x.shape[2])
    pool = min(POOL, *x.shape)
    blocks = avg_pool3d(x[None, None], pool, ceil_mode=True)[0, 0] > FOREGROUND
    found = blocks.nonzero()
    if len(found) == 0:
        return whole
    low = (found.amin(0) * pool - MARGIN).clamp(min=0)
    high = torch.minimum((found.amax(0) + 1) * pool + MARGIN, torch.tensor(x.shape, device=x.device))
    if (high - low).prod() > WORTH * x.numel():
        return whole
    i, j, k, *size = [*low.tolist(), *(high - low).tolist()]
    return (i, j, k), (size[0], size[1], size[2])


def with_reliability(image: Volume, scan: Volume) -> Volume:
    """The image, then which of its voxels were measured: what the generator gives such a network, by the same code.

    Parameters
    ----------
    image : Volume
        As `prepare` gives it.
    scan : Volume
    """
    measured = reliability(scan.shape, scan.affine, image.shape, image.affine, image.data.device)
    return image.with_data(torch.cat([image.data, measured[None]]))
