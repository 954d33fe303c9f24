"""Infarcts: a territory, or a few small holes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from .anatomy import CORTEX, DEEP, INFRATENTORIAL, WHITE, Anatomy, Centre
from .shape import Patch, ball, box_around, reach, soft
from .sites import candidates

ATROPHY = 0.15  # of the radius: how much an old infarct shrinks
SWELLING = 0.08  # of the radius: how much a fresh one swells
FRESH = 0.85  # of the tissue that is swollen in a fresh one: grey and white matter can still be told apart


def stroke(
    anatomy: Anatomy, centre: Centre | None, *, size: float, stretch: list[float], rough: float, fade: float,
    age: float, seed: int,
) -> Iterator[Patch]:  # fmt: skip
    """Infarct of a territory, from the cortex inwards, on one side [1]_.

    Parameters
    ----------
    anatomy : Anatomy
    centre : voxel indices
        In the cortex.
    size : mm
        Diameter of the ball of the same volume, before what is not brain of that side is cut off.
    stretch : factor for each axis
    rough : share of the radius
        Irregularity of the border.
    fade : mm
        Of the border.
    age : 0 to 1
        Below 0.3 it is fresh and swollen; after that a cavity eats it up from its middle and leaves a gliotic border.
    seed : int

    References
    ----------
    .. [1] Allen et al., RadioGraphics 2012, doi:10.1148/rg.325115760
    """
    assert centre is not None
    radius = size / 2
    box = box_around(anatomy, centre, reach(radius, stretch, rough, fade))
    distance = ball(anatomy, box, centre, radius=radius, stretch=stretch, rough=rough, seed=seed)
    share = soft(distance, fade) * anatomy.inside(box, (WHITE, CORTEX, DEEP)) * anatomy.same_side(box, centre)
    if age < 0.3:
        yield Patch(box, {"oedema": FRESH * share})
        return
    hole = share * soft(distance + radius * (1.05 - age), 2 * fade)
    yield Patch(box, {"lesion": share - hole, "cavity": hole})


def lacunes(
    anatomy: Anatomy, centre: Centre | None, *, count: int, size: list[float], age: float, seed: int
) -> Iterator[Patch]:
    """Small infarcts of basal ganglia, thalamus, white matter and brainstem [1]_.

    Parameters
    ----------
    anatomy : Anatomy
    centre : not used
    count : int
    size : mm, lower and upper bound
        Diameter.
    age : 0 to 1
        Share of the inside that has become a hole.
    seed : int
        Of places and shapes.

    References
    ----------
    .. [1] Wardlaw et al., Lancet Neurol 2013, doi:10.1016/S1474-4422(13)70124-8
    """
    rng = Random(seed)
    places = {home: candidates(anatomy, home) for home in ("deep", "white", "infratentorial")}
    for _ in range(count):
        where = places[rng.choices(list(places), (6, 3, 1))[0]]
        radius, stretch, u = rng.uniform(*size) / 2, [rng.uniform(0.7, 1.6) for _ in range(3)], rng.random()
        if not len(where):
            continue
        i, j, k = where[int(u * len(where))].tolist()
        box = box_around(anatomy, (i, j, k), 2 * radius + 2)
        distance = ball(anatomy, box, (i, j, k), radius=radius, stretch=stretch, rough=0.15, seed=seed)
        share = soft(distance, 1.0) * anatomy.inside(box, (WHITE, DEEP, INFRATENTORIAL))
        hole = share * soft(distance + 1.0, 1.0) * age
        yield Patch(box, {"lesion": share - hole, "cavity": hole})
