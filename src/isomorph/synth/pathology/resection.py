"""What a surgeon took out."""

from __future__ import annotations

from collections.abc import Iterator

from .anatomy import BRAIN, FLUID, PARENCHYMA, Anatomy, Centre
from .shape import Patch, ball, box_around, reach, soft


def resection(
    anatomy: Anatomy, centre: Centre | None, *, size: float, stretch: list[float], rough: float, gliosis: float,
    seed: int,
) -> Iterator[Patch]:  # fmt: skip
    """A cavity filled with fluid that reaches the surface, and its gliotic wall [1]_.

    Parameters
    ----------
    anatomy : Anatomy
    centre : voxel indices
        In the cortex.
    size : mm
        Diameter of the ball of the same volume, before what would lie outside the brain is cut off.
    stretch : factor for each axis
    rough : share of the radius
        Irregularity of the border.
    gliosis : mm
        Thickness of the wall, which fades outwards.
    seed : int

    References
    ----------
    .. [1] Pérez-García et al., IJCARS 2021, doi:10.1007/s11548-021-02420-2
    """
    assert centre is not None
    radius = size / 2
    box = box_around(anatomy, centre, reach(radius, stretch, rough, 2 * gliosis))
    distance = ball(anatomy, box, centre, radius=radius, stretch=stretch, rough=rough, seed=seed)
    cavity = soft(distance, 1.5) * anatomy.inside(box, (*BRAIN, FLUID)) * anatomy.same_side(box, centre)
    wall = (1 - cavity) * soft(distance - gliosis / 2, 2 * gliosis) * anatomy.inside(box, PARENCHYMA)
    yield Patch(box, {"cavity": cavity, "lesion": wall})
