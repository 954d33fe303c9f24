"""Where in the brain a voxel lies: all that disease needs to know of a label map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from ...labels import CLUSTER, LABELS, LIMIT, level_of
from ...profile import smooth
from ...volume import Volume

OUTSIDE, WHITE, CORTEX, DEEP, VENTRICLE, FLUID, CEREBELLUM, INFRATENTORIAL = range(8)
BRAIN = (WHITE, CORTEX, DEEP, VENTRICLE, CEREBELLUM, INFRATENTORIAL)
PARENCHYMA = (WHITE, CORTEX, DEEP, CEREBELLUM, INFRATENTORIAL)
COARSE = 2.0  # mm; where a lesion may begin need not be known more precisely
DEPTH = 8.0  # mm, of smoothing: what is all brain after it lies deep
LEVELS = {WHITE: (0.82, 1.25), CORTEX: (0.45, 0.82), FLUID: (0.0, 0.45)}  # of intensity clusters, white matter at 1

_REGIONS = {
    "white": WHITE, "lesion": WHITE, "cortex": CORTEX, "hippocampus": DEEP, "amygdala": DEEP, "thalamus": DEEP,
    "caudate": DEEP, "putamen": DEEP, "pallidum": DEEP, "accumbens": DEEP, "ventral_dc": DEEP, "choroid": VENTRICLE,
    "cerebellar_cortex": CEREBELLUM, "cerebellar_white": INFRATENTORIAL, "brainstem": INFRATENTORIAL,
}  # fmt: skip

Box = tuple[slice, slice, slice]
Centre = tuple[float, float, float]  # voxel indices


@cache
def _table() -> Tensor:
    """Region of each label."""
    table = torch.zeros(LIMIT, dtype=torch.uint8)
    for number, label in LABELS.items():
        table[number] = _REGIONS.get(label.tissue, VENTRICLE if label.tissue == "fluid" else OUTSIDE)
    table[24], table[512], table[30], table[62] = FLUID, OUTSIDE, WHITE, WHITE  # 512: spinal cord; 30, 62: vessels
    for number in range(CLUSTER, LIMIT):
        grey, level = level_of(number)
        found = next((region for region, (low, high) in LEVELS.items() if low <= level < high), OUTSIDE)
        table[number] = found if grey == "cortex" or found == FLUID else DEEP
    return table


@cache
def _sides() -> Tensor:
    """0 for no side, 1 for left, 2 for right."""
    table = torch.zeros(LIMIT, dtype=torch.uint8)
    for number, label in LABELS.items():
        table[number] = ("", "left", "right").index(label.side)
    return table


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A label map as disease sees it.

    Parameters
    ----------
    x : Volume
        Label map; intensity clusters will do, where nothing is known but fluid, grey and white matter.
    """

    x: Volume

    def regions(self, box: Box) -> Tensor:
        """Region of each voxel of a box."""
        return _table().to(self.x.data.device)[self.x.data[0][box].long()]

    def same_side(self, box: Box, centre: Centre) -> Tensor:
        """0 where the labels of a box say that they are of the other side than that at a centre, else 1; soft."""
        table = _sides().to(self.x.data.device)
        i, j, k = (round(at) for at in centre)
        side = table[int(self.x.data[0, i, j, k])]
        sides = table[self.x.data[0][box].long()]
        same = ((sides == side) | (sides == 0) | (side == 0)).float()[None]
        for axis in range(3):
            same = smooth(same, 1.5, axis)
        return same[0]

    def inside(self, box: Box, regions: tuple[int, ...], blur: float = 0.6) -> Tensor:
        """How much of each voxel of a box is of these regions: 0 to 1, blurred by some voxels."""
        there = is_any(self.regions(box), regions).float()[None]
        for axis in range(3):
            there = smooth(there, blur, axis)
        return there[0]

    @property
    def stride(self) -> list[int]:
        """Voxels to the coarse grid."""
        return [max(1, round(COARSE / mm)) for mm in self.x.spacing]

    def coarse(self) -> Tensor:
        """Region of every few voxels. Fluid deep inside a brain made of clusters is taken for a ventricle."""
        i, j, k = self.stride
        labels = self.x.data[0, ::i, ::j, ::k].long()
        regions = _table().to(labels.device)[labels]
        clusters = labels >= CLUSTER
        if clusters.any():
            deep = self.smoothed(clusters, DEPTH) > 0.97
            regions[clusters & deep & (regions == FLUID)] = VENTRICLE
            regions[clusters & deep & (regions == CORTEX)] = DEEP
        return regions

    def smoothed(self, mask: Tensor, mm: float) -> Tensor:
        """A coarse mask, blurred with a standard deviation in mm."""
        soft = mask.float()[None]
        for axis, (step, size) in enumerate(zip(self.stride, self.x.spacing, strict=True)):
            soft = smooth(soft, mm / (step * size), axis)
        return soft[0]

    def near(self, mask: Tensor, mm: float) -> Tensor:
        """A coarse mask, grown by a distance in mm along each axis."""
        grown = mask.float()[None, None]
        for axis, (step, size) in enumerate(zip(self.stride, self.x.spacing, strict=True)):
            radius = max(1, round(mm / (step * size)))
            kernel = [2 * radius + 1 if axis == k else 1 for k in range(3)]
            grown = max_pool3d(grown, kernel, stride=1, padding=[n // 2 for n in kernel])
        return grown[0, 0] > 0


def is_any(regions: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Where a region is one of these."""
    mask = regions == wanted[0]
    for region in wanted[1:]:
        mask = mask | (regions == region)
    return mask
