"""Lesions of real patients, carried into this head."""

from __future__ import annotations

import torch

from ...profile import smooth
from ...volume import Volume
from .anatomy import CORTEX, DEEP, INFRATENTORIAL, WHITE, Anatomy
from .shape import Patch

PATIENTS = 8  # masks of a head, one bit each
BORDER = 0.7  # voxels
GREY = 0.3  # of a lesion that reaches into grey matter is there


def carried(anatomy: Anatomy, masks: Volume, patient: int) -> Patch:
    """The lesions of one patient, their border blurred by a voxel, where this brain has white matter, and few beyond.

    Parameters
    ----------
    anatomy : Anatomy
    masks : Volume
        Bit k of each voxel is the mask of patient k; on the grid of the anatomy.
    patient : 0 to 7
    """
    mask = ((masks.data.to(torch.uint8) >> patient) & 1).float()
    for axis in range(3):
        mask = smooth(mask, BORDER, axis)
    whole = slice(None)
    box = (whole, whole, whole)
    # Ventricles differ from brain to brain more than registration can follow.
    fit = anatomy.inside(box, (WHITE, INFRATENTORIAL)) + GREY * anatomy.inside(box, (CORTEX, DEEP))
    return Patch(box, {"lesion": mask[0] * fit})
