"""Where each kind of lesion likes to begin."""

from __future__ import annotations

import torch
from torch import Tensor

from .anatomy import BRAIN, CORTEX, DEEP, INFRATENTORIAL, VENTRICLE, WHITE, Anatomy, Centre, is_any

BESIDE = 4.0  # mm from a ventricle or from the cortex


def candidates(anatomy: Anatomy, home: str) -> Tensor:
    """(N, 3) voxel indices of the places where a lesion may begin, in the order of the grid.

    Parameters
    ----------
    anatomy : Anatomy
    home : {'periventricular', 'juxtacortical', 'white', 'infratentorial', 'deep', 'cortex', 'lobar'}
        `deep` is grey and white matter around the basal ganglia; `lobar` is white matter away from the ventricles.
        Where a map of clusters knows no such place, white matter.
    """
    regions = anatomy.coarse()
    where = _home(anatomy, regions, home)
    if not where.any():
        where = regions == WHITE
    stride = torch.tensor(anatomy.stride, device=where.device)
    return torch.nonzero(where) * stride


def site(anatomy: Anatomy, *, home: str, place: float) -> Centre | None:
    """One of the candidates; None if there is none.

    Parameters
    ----------
    anatomy, home
        As for `candidates`.
    place : 0 to 1
        Which of them.
    """
    found = candidates(anatomy, home)
    if not len(found):
        return None
    i, j, k = found[min(int(place * len(found)), len(found) - 1)].tolist()
    return float(i), float(j), float(k)


def _home(anatomy: Anatomy, regions: Tensor, home: str) -> Tensor:
    white = regions == WHITE
    if home == "periventricular":
        return white & anatomy.near(regions == VENTRICLE, BESIDE)
    if home == "juxtacortical":
        return white & anatomy.near(regions == CORTEX, BESIDE / 2) & ~anatomy.near(regions == VENTRICLE, 2 * BESIDE)
    if home == "infratentorial":
        return regions == INFRATENTORIAL
    if home == "deep":
        inner = anatomy.smoothed(is_any(regions, BRAIN), 8.0) > 0.95
        return (regions == DEEP) | (white & anatomy.near(regions == DEEP, BESIDE) & inner)
    if home == "cortex":
        return regions == CORTEX
    if home == "lobar":
        return white & ~anatomy.near(regions == VENTRICLE, 2 * BESIDE)
    return white


def away(anatomy: Anatomy, regions: Tensor) -> Tensor:
    """(3, i, j, k) gradient of how near a ventricle is: minus the direction in which Dawson's fingers point."""
    near = anatomy.smoothed(regions == VENTRICLE, 2 * BESIDE)
    size = [step * mm for step, mm in zip(anatomy.stride, anatomy.x.spacing, strict=True)]
    padded = torch.nn.functional.pad(near[None, None], [1] * 6, mode="replicate")[0, 0]
    inner = slice(1, -1)
    return torch.stack([
        (padded[2:, inner, inner] - padded[:-2, inner, inner]) / size[0],
        (padded[inner, 2:, inner] - padded[inner, :-2, inner]) / size[1],
        (padded[inner, inner, 2:] - padded[inner, inner, :-2]) / size[2],
    ])  # fmt: skip
