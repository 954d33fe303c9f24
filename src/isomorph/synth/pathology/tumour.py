"""Tumours: necrotic core, enhancing rim, oedema along the white matter, and a border that fades."""

from __future__ import annotations

from collections.abc import Iterator

from ..texture import texture
from .anatomy import BRAIN, FLUID, PARENCHYMA, WHITE, Anatomy, Centre
from .shape import MOST, Patch, ball, box_around, reach, soft


def tumour(
    anatomy: Anatomy, centre: Centre | None, *, size: float, stretch: list[float], rough: float, rim: float,
    oedema: float, fade: float, seed: int,
) -> Iterator[Patch]:  # fmt: skip
    """A mass and what it does to the tissue around it [1]_, [2]_.

    Parameters
    ----------
    anatomy : Anatomy
        The brain already pushed aside.
    centre : voxel indices
    size : mm
        Diameter of the ball of the same volume, without oedema.
    stretch : factor for each axis
    rough : share of the radius
        Irregularity of the border.
    rim : mm
        Thickness of the living border around the necrotic core; 0 for a mass that neither enhances nor decays.
    oedema : mm
        How far the white matter around it is swollen.
    fade : mm
        Over which the mass passes into what surrounds it, and twice that for the oedema: infiltration has no border.
    seed : int

    References
    ----------
    .. [1] Menze et al., IEEE TMI 2015, doi:10.1109/TMI.2014.2377694
    .. [2] Swanson et al., Cell Prolif 2000, doi:10.1046/j.1365-2184.2000.00177.x
    """
    assert centre is not None
    radius = size / 2
    box = box_around(anatomy, centre, reach(radius, stretch, rough, MOST * oedema + fade + 1))
    distance = ball(anatomy, box, centre, radius=radius, stretch=stretch, rough=rough, seed=seed)
    side = anatomy.same_side(box, centre)
    mass = soft(distance, fade if rim == 0 else min(fade, rim)) * anatomy.inside(box, (*BRAIN, FLUID)) * side
    fingers = texture(seed + 2, distance.shape, anatomy.x.spacing, max(oedema / 2, 6.0), like=distance)
    edge = distance - oedema * (1 + 0.4 * fingers).clamp(0.2, 1.8)
    tissue = 0.8 * anatomy.inside(box, (WHITE,)) + 0.2 * anatomy.inside(box, PARENCHYMA)
    around = (1 - mass) * soft(edge, 2 * fade + 2) * tissue * side
    if rim == 0:
        yield Patch(box, {"lesion": mass, "oedema": around})
        return
    thick = rim * (1 + 0.3 * fingers).clamp(0.4, 1.6)
    skull = (2 * anatomy.inside(box, (*BRAIN, FLUID), rim / min(anatomy.x.spacing)) - 1).clamp(0, 1)
    dead = mass * soft(distance + thick, 1.5) * soft(0.5 - skull, 0.5)  # there is a rim towards the skull as well
    yield Patch(box, {"necrosis": dead, "rim": mass - dead, "oedema": around})
