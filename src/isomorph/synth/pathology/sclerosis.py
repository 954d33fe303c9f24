"""Multiple sclerosis: many ovoids in white matter, and the fingers beside the ventricles."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch

from ..texture import texture
from .anatomy import INFRATENTORIAL, WHITE, Anatomy, Centre
from .shape import Patch, box_around, offsets, soft
from .sites import away, candidates

BRAIN_WHITE = 500.0  # mL of white matter in a whole brain: a part of a head gets a part of the load
MOST = 400  # lesions; 30 mL are about 260 of usual size
HOMES = {"periventricular": 0.5, "juxtacortical": 0.2, "white": 0.22, "infratentorial": 0.08}


def sclerosis(
    anatomy: Anatomy, centre: Centre | None, *, load: float, size: list[float], fade: float, hole: float, seed: int
) -> Iterator[Patch]:
    """Lesions of multiple sclerosis [1]_.

    Parameters
    ----------
    anatomy : Anatomy
    centre : not used
    load : mL
        Of all lesions of a whole brain.
    size : mm, lower and upper bound
        Width of a lesion; its length is up to 2.5 times that, beside a ventricle at a right angle to its wall.
    fade : mm
        Of the border.
    hole : 0 to 1
        How much of the inside is destroyed, which is what is dark in a T1.
    seed : int
        Of places and shapes.

    References
    ----------
    .. [1] Filippi et al., Brain 2019, doi:10.1093/brain/awz144
    """
    rng = Random(seed)
    regions = anatomy.coarse()
    cell = anatomy.stride[0] * anatomy.stride[1] * anatomy.stride[2] * _voxel(anatomy)
    left = load * min(1.0, float((regions == WHITE).sum()) * cell / 1000 / BRAIN_WHITE)
    places = {home: candidates(anatomy, home) for home in HOMES}
    uphill = away(anatomy, regions)
    warp = texture(seed, anatomy.x.shape, anatomy.x.spacing, 6.0, like=anatomy.x.data)
    for _ in range(MOST):
        home = rng.choices(list(HOMES), list(HOMES.values()))[0]
        width, length, where = rng.uniform(*size) * rng.uniform(0.5, 1), rng.uniform(1, 2.5), rng.random()
        left -= length * width**3 / 1910  # mL: pi / 6, in mm
        if left < 0 and _:
            return
        if not len(places[home]):
            continue
        i, j, k = places[home][int(where * len(places[home]))].tolist()
        node = (
            slice(None),
            *(min(at // s, n - 1) for at, s, n in zip((i, j, k), anatomy.stride, uphill.shape[1:], strict=True)),
        )
        axis = uphill[node]
        if home != "periventricular" or axis.norm() < 1e-6:
            axis = torch.tensor([rng.gauss(0, 1) for _ in range(3)], device=axis.device)
        yield _ovoid(anatomy, (i, j, k), axis / axis.norm(), width / 2, length, warp, fade, hole)


def _ovoid(
    anatomy: Anatomy,
    centre: Centre,
    axis: torch.Tensor,
    radius: float,
    length: float,
    warp: torch.Tensor,
    fade: float,
    hole: float,
) -> Patch:
    box = box_around(anatomy, centre, length * (1.5 * radius + fade))  # the border is warped by half
    offset = offsets(anatomy, box, centre)
    along = (offset * axis.view(3, 1, 1, 1)).sum(0)
    square = offset.square().sum(0) - along.square() * (1 - length**-2)
    distance = square.clamp(min=0).sqrt() - radius * (1 + 0.25 * warp[box].clamp(-2, 2))
    fade = min(fade, radius)
    share = soft(distance, fade)
    # White matter, and little of the cortex that a lesion touches.
    share = share * anatomy.inside(box, (WHITE, INFRATENTORIAL))
    inside = soft(distance + 0.4 * radius, fade) * hole
    return Patch(box, {"lesion": (share - inside).clamp(min=0), "necrosis": torch.minimum(inside, share)})


def _voxel(anatomy: Anatomy) -> float:
    i, j, k = anatomy.x.spacing
    return i * j * k
