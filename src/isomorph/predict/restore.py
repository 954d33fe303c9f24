"""From the raw output of the network to the image that is written."""

from __future__ import annotations

import numpy as np

from ..intensity import denormalise
from ..space import Shape, onto, resample
from ..volume import Volume
from .prepare import Prepared

WHITE_MATTER = 110.0  # where FreeSurfer expects it
TOP = 255.0  # FreeSurfer conforms to 8 bits; skin and fat may be brighter than white matter, and fit


def on_grid(image: Volume, shape: Shape, affine: np.ndarray) -> Volume:
    """The 1 mm result on the grid of a scan: same scale, float32.

    Where a voxel of the scan is larger than 1 mm it gets the mean over its extent, weighted as a slice of that
    thickness would be (a Gaussian as wide at half its height as slices lie apart), not the value at its centre.

    Parameters
    ----------
    image : Volume
    shape, affine
        Of the grid.
    """
    return resample(image, shape, affine, fill=None)


def sharpened(raw: Volume, prepared: Prepared) -> Volume:
    """Back to the intensities of the scan and onto the whole 1 mm grid, for a network that leaves contrast as it is.

    Outside the field of view of the scan the image is as air is in it.

    Parameters
    ----------
    raw : Volume
        As `run` gives it.
    prepared : Prepared
    """
    whole = onto(raw.with_data(raw.data[:1]), prepared.shape, prepared.affine)
    return whole.with_data(denormalise(whole.data * prepared.view, *prepared.window))


def restore(raw: Volume, prepared: Prepared, white_matter: float, beyond: float = 0.0) -> Volume:
    """Scale so that white matter is 110, clip to 0 to 255, and put back on the whole 1 mm grid.

    Clipping loses nothing that a T1 holds (air is 0; fat reaches about 200) and keeps the file within what 8-bit tools
    accept without rescaling. Outside the field of view of the scan the image is 0: nothing was seen there.

    Parameters
    ----------
    raw : Volume
        As `run` gives it.
    prepared : Prepared
    white_matter : float
        Its level in `raw`.
    beyond : float
        Level, in `raw`, of what the scan has seen beyond the box of the head.
    """
    scale = WHITE_MATTER / white_matter
    scaled = raw.with_data((raw.data[:1] * scale).clamp(0, TOP))
    whole = onto(scaled, prepared.shape, prepared.affine, fill=beyond * scale)
    return whole.with_data(whole.data * prepared.view)
