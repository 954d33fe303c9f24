"""Bleeding into the brain."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .anatomy import BRAIN, PARENCHYMA, Anatomy, Centre
from .shape import Patch, ball, box_around, reach, soft


def radius_of(volume: float) -> float:
    """Radius in mm of a ball of a volume in mL."""
    return 10 * (3 * volume / (4 * math.pi)) ** (1 / 3)


def haemorrhage(
    anatomy: Anatomy, centre: Centre | None, *, volume: float, stretch: list[float], rough: float, oedema: float,
    fade: float, seed: int,
) -> Iterator[Patch]:  # fmt: skip
    """Blood, and a seam of oedema [1]_.

    Parameters
    ----------
    anatomy : Anatomy
        The brain already pushed aside.
    centre : voxel indices
    volume : mL
        Of the blood, before what would lie outside the brain is cut off.
    stretch : factor for each axis
    rough : share of the radius
        Irregularity of the border.
    oedema : mm
        Thickness of the seam.
    fade : mm
        Of the seam's outer border; that of the blood is sharp.
    seed : int

    References
    ----------
    .. [1] Qureshi et al., NEJM 2001, doi:10.1056/NEJM200105103441907
    """
    assert centre is not None
    radius = radius_of(volume)
    box = box_around(anatomy, centre, reach(radius, stretch, rough, oedema + fade))
    distance = ball(anatomy, box, centre, radius=radius, stretch=stretch, rough=rough, seed=seed)
    blood = soft(distance, 1.0) * anatomy.inside(box, BRAIN)
    seam = (1 - blood) * soft(distance - oedema, fade) * anatomy.inside(box, PARENCHYMA)
    yield Patch(box, {"blood": blood, "oedema": seam})
