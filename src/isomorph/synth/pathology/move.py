"""Mass effect: what grows pushes the brain aside, what shrinks draws it in."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...profile import smooth
from ...volume import Volume
from ..coordinates import positions, pull
from ..deform import LATTICE, exponential
from .anatomy import OUTSIDE, Anatomy, Centre

GRIP = 5.0  # mm: how smoothly the brain's movement ends at the skull


class Mass(NamedTuple):
    """Something that takes room."""

    centre: Centre  # voxel indices
    radius: float  # mm, once grown
    push: float  # mm by which tissue at its border yields; negative if it shrinks


def displacement(anatomy: Anatomy, masses: list[Mass]) -> Tensor:
    """From where each point is to where its tissue was, (1, 3, N, N, N) mm, invertible.

    Parameters
    ----------
    anatomy : Anatomy
        Before anything grew.
    masses : what grows

    Returns
    -------
    (1, 3, N, N, N) tensor, mm
        On a lattice of some mm that runs from the first to the last voxel centre of the grid.

    Notes
    -----
    The velocity is that of an incompressible medium around a growing ball: it falls with the square of the distance.
    The skull does not yield. Tissue at the border of a ball of radius R came from R (1 - exp(-push / R)) further in,
    where there is room.

    References
    ----------
    .. [1] Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113
    """
    shape, spacing, device = anatomy.x.shape, anatomy.x.spacing, anatomy.x.data.device
    sizes = [max(2, 1 + round(n * mm / LATTICE)) for n, mm in zip(shape, spacing, strict=True)]
    index = [torch.linspace(0, n - 1, m, device=device) for n, m in zip(shape, sizes, strict=True)]
    velocity = torch.zeros(3, *sizes, device=device)
    for mass in masses:
        axes = [(at - c) * mm for at, c, mm in zip(index, mass.centre, spacing, strict=True)]
        away = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        t = away.norm(dim=0) / mass.radius
        velocity -= mass.push / mass.radius * away * t.clamp(min=1) ** -3
    return exponential((velocity * _freedom(anatomy, index))[None], shape, spacing)


def _freedom(anatomy: Anatomy, index: list[Tensor]) -> Tensor:
    """How freely each node moves: 1 inside the brain, 0 at the skull and beyond."""
    i, j, k = (at.round().long() for at in index)
    labels = anatomy.x.with_data(anatomy.x.data[:, i][:, :, j][:, :, :, k])
    whole = slice(None)
    free = (Anatomy(labels).regions((whole, whole, whole)) != OUTSIDE).float()[None]
    for axis in range(3):
        free = smooth(free, GRIP / LATTICE, axis)
    return (2.5 * free[0] - 1.5).clamp(0, 1)  # 0 a little inside the skull: a lattice is coarse


def moved(x: Volume, field: Tensor) -> Volume:
    """Labels or masks after a displacement.

    Parameters
    ----------
    x : Volume
        Axes along R, A, S.
    field : (1, 3, N, N, N) tensor, mm
        As `displacement` gives it.
    """
    away = interpolate(field, x.shape, mode="trilinear", align_corners=True)[0]
    return pull(x, positions(x.shape, x.affine, x.data.device) + away, x.affine, mode="nearest")
