"""Contrast priors that come with the package, for the contrast `measured`: T1, T2, FLAIR, PD and T2*.

Means are those of `contrasts.py`, of which T1 and T2 of the brain are published for SynthSR
(doi:10.1016/j.neuroimage.2021.118206); so is the texture of these two. Of how much they vary between scans only the
range is known: 3 to 18 of 255 for means, 1 to 21 for textures. Taken here are 8 and 5, five times that as in the
paper, and twice as much outside the brain. All else is approximate. White matter of a T1 is 1.
"""

from __future__ import annotations

from typing import Any

from ..labels import TISSUES
from .contrasts import CONTRAST_TABLES

UNIT = 226.4  # white matter of a T1, of 255
HYPER = 5  # the paper widens what it measured
MEANS, TEXTURES = HYPER * 8 / UNIT, HYPER * 5 / UNIT
OUTSIDE = 2  # factor for tissues that were not measured
TEXTURE = 14.0  # of 255, where it is not known
SHARED = ("cerebellar_cortex", "cerebellar_white", "nerve", "eye", "cavity")  # of the class that they are a part of
NAMES = ("T1", "T2", "FLAIR", "PD", "T2*")

_STRUCTURES = (
    "white", "cortex", "fluid", "brainstem", "thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala",
    "accumbens", "ventral_dc", "choroid",
)  # fmt: skip
_PUBLISHED = {  # texture, of 255
    "T1": (15.4, 18.5, 28.6, 10.9, 15.4, 10.5, 10.7, 6.8, 10.5, 8.0, 5.7, 12.4, 30.4),
    "T2": (12.2, 20.2, 24.8, 11.7, 8.7, 11.3, 9.3, 9.5, 14.1, 9.2, 8.9, 19.2, 68.8),
}


def prior_table(name: str) -> dict[str, Any]:
    """Settings of `Measured`, as a recipe writes them.

    Parameters
    ----------
    name : one of `NAMES`
    """
    known: dict[str, float] = dict(zip(_STRUCTURES, _PUBLISHED.get(name, ()), strict=False))
    means, stds = {}, {}
    for tissue in (t for t in TISSUES if t not in SHARED):
        wide = 0 if tissue == "air" else 1 if tissue in _STRUCTURES else OUTSIDE
        texture = 0.0 if tissue == "air" else known.get(tissue, TEXTURE)
        means[tissue] = [round(CONTRAST_TABLES[name][tissue], 4), round(wide * MEANS, 4)]
        stds[tissue] = [round(texture / UNIT, 4), round(wide * TEXTURES, 4)]
    return {"kind": "measured", "distribution": "normal", "means": means, "stds": stds}
