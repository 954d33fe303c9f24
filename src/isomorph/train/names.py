"""Which grey matter is which in a real T1, as a segmentation says, if what it says can be true."""

from __future__ import annotations

import numpy as np
import torch

from ..labels import CLUSTER, CLUSTERS, GREY, LABELS, LIMIT
from ..volume import Volume

# ml of one side, from about half to about twice of what healthy adults have: no norm, but what lies beyond went wrong.
PLAUSIBLE = {
    "thalamus": (4.0, 11.0), "caudate": (1.8, 6.0), "putamen": (2.5, 8.5), "pallidum": (0.8, 3.2),
    "hippocampus": (2.2, 6.0), "amygdala": (0.7, 3.0), "accumbens": (0.15, 1.3), "ventral_dc": (2.0, 6.5),
}  # fmt: skip
SIDES = 1.6  # one side over the other, at most


def named(levels: Volume, segmentation: Volume) -> Volume:
    """Levels of brightness that know which grey matter they are of.

    Edges stay where the T1 has them, and a voxel that is half fluid is half fluid; but a thalamus may now be of another
    brightness than the cortex that is as bright in a T1.

    Parameters
    ----------
    levels : Volume, (1, I, J, K)
        Intensity clusters of `isomorph.labels`, those of cortex.
    segmentation : Volume, (1, I, J, K)
        Numbers of `isomorph.labels`, on the same grid.
    """
    block = _blocks()[segmentation.data.long()].to(levels.data.dtype)
    return levels.with_data(torch.where(levels.data >= CLUSTER, levels.data + CLUSTERS * block, levels.data))


def implausible(segmentation: Volume) -> str:
    """Why a segmentation cannot be true, by the volumes of what it names; empty if it can.

    Parameters
    ----------
    segmentation : Volume, (1, I, J, K)
        Numbers of `isomorph.labels`, left and right apart.
    """
    count = torch.bincount(segmentation.data.flatten().long(), minlength=LIMIT)
    voxel = abs(np.linalg.det(segmentation.affine[:3, :3])) / 1000  # ml
    for tissue, (least, most) in PLAUSIBLE.items():
        sides = [label for label in LABELS.values() if label.tissue == tissue]
        volumes = [count[label.number].item() * voxel for label in sides]
        for label, volume in zip(sides, volumes, strict=True):
            if not least <= volume <= most:
                return f"{label.name} of {volume:.1f} ml, where {least:g} to {most:g} are plausible"
        if max(volumes) > SIDES * min(volumes):
            return f"{tissue} of {volumes[0]:.1f} and {volumes[1]:.1f} ml, left and right"
    return ""


def _blocks() -> torch.Tensor:
    """Which of `GREY` each label is; 0 where it is none of those with a name."""
    table = torch.zeros(LIMIT, dtype=torch.int64)
    for number, label in LABELS.items():
        if label.tissue in GREY[1:]:
            table[number] = GREY.index(label.tissue)
    return table
