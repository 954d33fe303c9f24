"""Where the brain is in a synthetic T1: rough, without a network, for measuring agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import not_installed
from ..volume import Volume


def rough_brain_mask(t1: Volume, *, level: float = 55.0, neck: float = 5.0, gap: float = 7.0) -> torch.Tensor:
    """The largest bright body after everything thinner than twice `neck` is cut away,
    with the fluid in it and between its folds.

    Parameters
    ----------
    t1 : Volume, (1, I, J, K)
        1 mm, white matter near 110.
    level : same units
        Between fluid and grey matter.
    neck : mm
        Half the thickness of what joins brain and skull.
    gap : mm
        Half the width of the fluid spaces that belong to the brain.

    Returns
    -------
    (I, J, K) tensor of bool

    Raises
    ------
    SetupError
        If scipy is missing.
    """
    ndimage = _ndimage()
    bright = t1.data[0].numpy() > level
    core = ndimage.distance_transform_edt(bright, sampling=t1.spacing) > neck
    labels, count = ndimage.label(core)
    if count == 0:
        return torch.zeros(t1.shape, dtype=torch.bool)
    brain = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    grown = ndimage.distance_transform_edt(~brain, sampling=t1.spacing) <= neck
    closed = ndimage.distance_transform_edt(~(grown & bright), sampling=t1.spacing) <= gap
    deep = ndimage.distance_transform_edt(np.pad(closed, 1, mode="edge"), sampling=t1.spacing)
    return torch.from_numpy(deep[1:-1, 1:-1, 1:-1] > gap)


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError:
        raise not_installed("the brain mask", "scipy", "evaluate") from None
    return ndimage
