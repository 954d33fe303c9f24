"""The label table: number, name, side, and which tissues a label is made of.

Numbers are FreeSurfer's where FreeSurfer has one, SynthSeg's for the tissues outside the brain, and 700 upwards for
intensity clusters: labels to generate from need not be anatomical (doi:10.1016/j.neuroimage.2021.118206), so a real T1
without a segmentation is cut into levels of its own brightness, each a mixture of fluid, grey and white matter. Where a
segmentation says which grey matter lies there, the same levels have other numbers.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

# What a contrast must know the brightness of.
TISSUES = (
    "air", "fluid", "cortex", "white", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala",
    "accumbens", "ventral_dc", "brainstem", "cerebellar_cortex", "cerebellar_white", "choroid", "lesion",
    "artery", "vein", "skin", "soft", "muscle", "mucosa", "bone", "marrow", "eye", "nerve",
    "necrosis", "rim", "oedema", "blood", "cavity",
)  # fmt: skip

# What pathology is made of: no label has these, but for the first; they come as soft maps on top of the labels.
LESION_TISSUES = ("lesion", "necrosis", "rim", "oedema", "blood", "cavity")


class Label(NamedTuple):
    """One row of the table; side is 'left', 'right' or ''."""

    number: int
    name: str
    side: str
    tissue: str


_PAIRS = [  # left number, right number, name, tissue
    (2, 41, "white matter", "white"), (3, 42, "cortex", "cortex"), (4, 43, "lateral ventricle", "fluid"),
    (5, 44, "inferior lateral ventricle", "fluid"), (7, 46, "cerebellar white matter", "cerebellar_white"),
    (8, 47, "cerebellar cortex", "cerebellar_cortex"), (10, 49, "thalamus", "thalamus"),
    (11, 50, "caudate", "caudate"), (12, 51, "putamen", "putamen"), (13, 52, "pallidum", "pallidum"),
    (17, 53, "hippocampus", "hippocampus"), (18, 54, "amygdala", "amygdala"), (25, 57, "seam", "white"),
    (26, 58, "accumbens", "accumbens"), (28, 60, "ventral diencephalon", "ventral_dc"), (30, 62, "vessel", "vein"),
    (31, 63, "choroid plexus", "choroid"), (136, 163, "choroid plexus of lateral ventricle", "choroid"),
    (137, 164, "choroid plexus of inferior lateral ventricle", "choroid"),
]  # fmt: skip
_SINGLES = [
    (0, "background", "air"), (14, "third ventricle", "fluid"), (15, "fourth ventricle", "fluid"),
    (16, "brainstem", "brainstem"), (24, "cerebrospinal fluid", "fluid"), (29, "undetermined", "white"),
    (72, "fifth ventricle", "fluid"), (77, "white matter hypointensity", "lesion"), (85, "optic chiasm", "nerve"),
    (502, "artery", "artery"), (506, "eyes", "eye"), (507, "other tissue", "soft"),
    (508, "rectus muscles", "muscle"), (509, "mucosa", "mucosa"), (511, "skin", "skin"),
    (512, "spinal cord", "brainstem"), (514, "vein", "vein"), (515, "cortical bone", "bone"),
    (516, "cancellous bone", "marrow"), (530, "optic nerve", "nerve"),
]  # fmt: skip
LABELS = {
    label.number: label
    for label in (
        *(Label(number, f"{side} {name}", side, tissue)
          for left, right, name, tissue in _PAIRS for number, side in ((left, "left"), (right, "right"))),
        *(Label(number, name, "", tissue) for number, name, tissue in _SINGLES),
    )
}  # fmt: skip

FLUID_OUTSIDE = 24
SHOWN = tuple(n for n, label in LABELS.items() if label.tissue in ("lesion", "choroid"))  # by a scan, not by the T1
SEAM = (25, 57)  # FreeSurfer's lesion of one side; in maps, a layer of one voxel between ventricle and white matter
LESION = 77  # of any kind; to FreeSurfer, a hypointensity of white matter
PARCELS = {  # of the cortex by two atlases, of the white matter below it, of the callosum
    range(1000, 1036): 3, range(2000, 2036): 42, range(11100, 11176): 3, range(12100, 12176): 42,
    range(3000, 3036): 2, range(4000, 4036): 41, range(5001, 5002): 2, range(5002, 5003): 41, range(251, 256): 2,
}  # fmt: skip
EXTRACEREBRAL = frozenset(n for n in LABELS if n >= 500)

# Intensity clusters: level of a T1 whose fluid, grey and white matter lie at 0.25, 0.6 and 1.
CLUSTER, STEP, CLUSTERS = 700, 0.05, 30
ANCHORS = {"air": 0.0, "fluid": 0.25, "cortex": 0.6, "white": 1.0, "vein": 1.45}
# Levels of fluid alone, below the middle of its class, which is fluid and what shares voxels with it; of white matter.
# Half of air, a ventricle would be dark in a T2; half of a vein, bright white matter would be as dark as grey matter.
FLUIDS, WHITES = (0.05, 0.15), (1.0, 1.2)
# CLUSTERS numbers for each grey matter, those of cortex first, which stand for any that has no name. In a structure
# that is named, whatever is at least as bright as grey matter is that structure, never white matter.
GREY = (
    "cortex", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "accumbens", "ventral_dc",
)  # fmt: skip
LIMIT = CLUSTER + CLUSTERS * len(GREY)


def parcelled(number: int) -> int:
    """The label that a parcel of FreeSurfer is a part of; other numbers as they are.

    Parameters
    ----------
    number : int
        Of ``aparc+aseg``, ``aparc.a2009s+aseg`` or ``wmparc``, the callosum included.
    """
    return next((label for parcels, label in PARCELS.items() if number in parcels), number)


def brain_mask(labels: Tensor) -> Tensor:
    """Where the brain is (ventricles in, fluid around the brain out)."""
    return (labels > 0) & (labels != FLUID_OUTSIDE) & ((labels < 500) | (labels >= CLUSTER))


def level_of(number: int) -> tuple[str, float]:
    """Which grey matter an intensity cluster is of, and how bright it is in a T1 whose white matter is 1."""
    block, level = divmod(number - CLUSTER, CLUSTERS)
    return GREY[block], level * STEP


@cache
def mixture() -> Tensor:
    """Share of each tissue in each label, as a (LIMIT, tissues) table; rows of unknown labels are zero."""
    table = torch.zeros(LIMIT, len(TISSUES))
    for number, label in LABELS.items():
        table[number, TISSUES.index(label.tissue)] = 1
    pure = ANCHORS | {"fluid": FLUIDS, "white": WHITES}
    anchors = [(name, level) for name, at in pure.items() for level in (at if isinstance(at, tuple) else (at,))]
    names, levels = [name for name, _ in anchors], torch.tensor([level for _, level in anchors])
    for number in SEAM:
        table[number, TISSUES.index("fluid")] = table[number, TISSUES.index("white")] = 0.5
    for number in range(CLUSTER, LIMIT):
        grey, level = level_of(number)
        if grey != "cortex":
            level = min(level, ANCHORS["cortex"])
        above = int(torch.searchsorted(levels, level, right=True).clamp(1, len(levels) - 1))
        share = (level - levels[above - 1]) / (levels[above] - levels[above - 1])
        for name, part in ((names[above - 1], 1 - share), (names[above], share)):
            table[number, TISSUES.index(grey if name == "cortex" else name)] += part
    return table


@cache
def _opposite() -> Tensor:
    table = torch.arange(LIMIT)
    for left, right, *_ in _PAIRS:
        table[left], table[right] = right, left
    return table


def swap_sides(labels: Tensor) -> Tensor:
    """Left numbers become right ones and the other way round, as a mirrored head needs."""
    return _opposite().to(labels.device)[labels.long()].to(labels.dtype)
