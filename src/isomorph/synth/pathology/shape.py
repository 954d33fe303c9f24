"""Irregular shapes: distance from a border that noise has warped, and soft steps across it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...labels import LESION_TISSUES
from ..texture import texture
from .anatomy import Anatomy, Box, Centre

MOST = 2.0  # standard deviations by which a border is displaced


class Patch(NamedTuple):
    """What a lesion makes of a box of voxels: how much of each is which tissue."""

    box: Box
    shares: dict[str, Tensor]  # of LESION_TISSUES, (i, j, k) each, their sum at most 1


def box_around(anatomy: Anatomy, centre: Centre, reach: float) -> Box:
    """The voxels within `reach` mm of a centre along each axis."""
    bounds = []
    for at, mm, n in zip(centre, anatomy.x.spacing, anatomy.x.shape, strict=True):
        radius = int(reach / mm) + 1
        bounds.append(slice(max(0, round(at) - radius), min(n, round(at) + radius + 1)))
    return bounds[0], bounds[1], bounds[2]


def reach(radius: float, stretch: Sequence[float], rough: float, beyond: float) -> float:
    """How far from the centre a `ball` is felt, in mm.

    Parameters
    ----------
    radius, stretch, rough
        As for `ball`.
    beyond : mm
        How far from its border.
    """
    longest = max(stretch) / (stretch[0] * stretch[1] * stretch[2]) ** (1 / 3)
    return longest * (radius * (1 + MOST * rough) + beyond)


def offsets(anatomy: Anatomy, box: Box, centre: Centre) -> Tensor:
    """(3, i, j, k) mm from the centre."""
    device = anatomy.x.data.device
    axes = [
        (torch.arange(side.start, side.stop, device=device, dtype=torch.float32) - at) * mm
        for side, at, mm in zip(box, centre, anatomy.x.spacing, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def ball(
    anatomy: Anatomy, box: Box, centre: Centre, *, radius: float, stretch: Sequence[float], rough: float, seed: int
) -> Tensor:
    """Distance from the border of an irregular ellipsoid, mm; negative inside.

    Parameters
    ----------
    anatomy, box, centre
        Where.
    radius : mm
        Of the ball of the same volume.
    stretch : factor for each axis
        Made to leave the volume.
    rough : share of the radius
        Standard deviation of the border.
    seed : int
    """
    mean = (stretch[0] * stretch[1] * stretch[2]) ** (1 / 3)
    axes = torch.tensor([s / mean for s in stretch], device=anatomy.x.data.device).view(3, 1, 1, 1)
    distance = (offsets(anatomy, box, centre) / axes).square().sum(0).sqrt() - radius
    warp = texture(seed, distance.shape, anatomy.x.spacing, max(radius, 4.0), like=distance)
    detail = texture(seed + 1, distance.shape, anatomy.x.spacing, max(radius / 3, 2.0), like=distance)
    return distance + radius * rough * (0.9 * warp + 0.3 * detail).clamp(-MOST, MOST)


def soft(distance: Tensor, fade: float) -> Tensor:
    """1 inside, 0 outside, a smooth step of `fade` mm across the border."""
    t = (0.5 - distance / max(fade, 1e-3)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def overlay(maps: Tensor, patch: Patch) -> None:
    """Put a patch over what is there already; the sum over tissues stays at most 1.

    Parameters
    ----------
    maps : (L, I, J, K) tensor
        Written to.
    patch : Patch
    """
    there = maps[(slice(None), *patch.box)]
    there *= 1 - torch.stack(list(patch.shares.values())).sum(0).clamp(0, 1)
    for tissue, share in patch.shares.items():
        there[LESION_TISSUES.index(tissue)] += share
