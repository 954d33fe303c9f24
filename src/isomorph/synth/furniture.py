"""What a head lies on in a CT scanner: a head holder and a table, of which a scan shows the shells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import cos, radians
from typing import NamedTuple

import torch
from torch import Tensor


class Shape(NamedTuple):
    """Voxels and their Hounsfield units."""

    mask: Tensor  # (I, J, K) bool
    value: float


def furniture(
    air: Tensor,
    spacing: tuple[float, float, float],
    *,
    holder: Mapping[str, float] | None,
    table: Mapping[str, float] | None,
) -> Iterator[Shape]:
    """Head holder and table, below the back of the head and only where there is air.

    Parameters
    ----------
    air : (I, J, K) tensor of bool
        Axes along R, A, S.
    spacing : mm
    holder : dict, or None
        An arc around the back of the head: `gap` behind it and `clearance` beside it, `thickness` (mm), `opening`
        (degrees that it spans), `value` (HU).
    table : dict, or None
        A shallow trough: `drop` below the head, `radius` of its curve, `thickness`, `width` (mm), `value` (HU).
    """
    head = ~air
    if not head.any():
        return
    across = _positions(air.shape[0], spacing[0], air.device)
    along = _positions(air.shape[1], spacing[1], air.device)
    sides = across[head.any(2).any(1)]
    middle, half = (sides[0] + sides[-1]) / 2, (sides[-1] - sides[0]) / 2
    back = along[head.any(2).any(0)][0]
    right, front = (across - middle)[:, None], along[None]
    if table:
        surface = back - table["drop"] + right**2 / (2 * table["radius"])
        inside = (front <= surface) & (front > surface - table["thickness"]) & (right.abs() < table["width"] / 2)
        yield Shape(air & inside[:, :, None], table["value"])
    if holder:
        radius = half + holder["clearance"]
        centre = back - holder["gap"] + radius
        distance = torch.hypot(right, front - centre)
        inside = (distance >= radius) & (distance < radius + holder["thickness"])
        inside &= centre - front > distance * cos(radians(holder["opening"] / 2))
        yield Shape(air & inside[:, :, None], holder["value"])


def _positions(n: int, mm: float, device: torch.device) -> Tensor:
    return torch.arange(n, device=device) * mm
