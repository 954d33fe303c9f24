"""Which grey matter is which in a real T1, as a segmentation says, if what it says can be true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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
COVER = 0.8  # Dice of all that is named and the brain of the scan: fluid around it has no name
ENDS = ("", "_desc-synth_dseg")  # what may stand between name and suffix; the latter is what `isomorph segment` adds
SUFFIXES = (".nii.gz", ".nii")


def name_of(path: Path) -> str:
    """Of a head: that of its file, without ending."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def segmentation_of(scan: Path) -> Path | None:
    """The file in ``segmentations/``, beside the folder of a scan, that bears its name."""
    folder = scan.parent.parent / "segmentations"
    there = (folder / f"{name_of(scan)}{end}{suffix}" for end in ENDS for suffix in SUFFIXES)
    return next((path for path in there if path.exists()), None)


def belong(folder: Path, scans: Sequence[Path]) -> Iterator[str]:
    """A line for each image of a folder that is the segmentation of no scan."""
    known = {segmentation_of(scan) for scan in scans}
    for path in sorted(folder.glob("*.nii*")):
        if path not in known:
            yield f"segmentations/{path.name} has the name of no scan in t1/"


def named(levels: Volume, segmentation: Volume) -> Volume:
    """Levels of brightness that know which grey matter they are of.

    A voxel that is half fluid in the T1 is half fluid in any contrast; whatever is at least as bright as grey matter is
    of the structure that lies there, so that its border with white matter is that of the segmentation.

    Parameters
    ----------
    levels : Volume, (1, I, J, K)
        Intensity clusters of `isomorph.labels`, those of cortex.
    segmentation : Volume, (1, I, J, K)
        Numbers of `isomorph.labels`, on the same grid; others name nothing.
    """
    block = _blocks()[_numbers(segmentation)].to(levels.data.dtype)
    return levels.with_data(torch.where(levels.data >= CLUSTER, levels.data + CLUSTERS * block, levels.data))


def implausible(segmentation: Volume, scan: Volume) -> str:
    """Why a segmentation cannot be that of a scan, by its place and the volumes of what it names; empty if it can.

    Parameters
    ----------
    segmentation : Volume, (1, I, J, K)
        Numbers of `isomorph.labels`, left and right apart.
    scan : Volume, (1, I, J, K)
        On the same grid, zero outside the brain.
    """
    inside, brain = segmentation.data.round() > 0, scan.data > 0
    cover = 2 * (inside & brain).sum().item() / max((inside.sum() + brain.sum()).item(), 1)
    if cover < COVER:
        return f"what is named covers the brain with a Dice of {cover:.2f}, where {COVER} is the least"
    count = torch.bincount(_numbers(segmentation).flatten(), minlength=LIMIT)
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


def _numbers(segmentation: Volume) -> torch.Tensor:
    """Whole numbers of the table, whatever a file stores; 0 for cortical parcels and other numbers that it lacks."""
    numbers = segmentation.data.round().long()
    return torch.where((numbers < 0) | (numbers >= LIMIT), 0, numbers)


def _blocks() -> torch.Tensor:
    """Which of `GREY` each label is; 0 where it is none of those with a name."""
    table = torch.zeros(LIMIT, dtype=torch.int64)
    for number, label in LABELS.items():
        if label.tissue in GREY[1:]:
            table[number] = GREY.index(label.tissue)
    return table
