"""From what was drawn to soft maps of tissue, and to the push that goes with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...labels import LESION_TISSUES
from ...volume import Volume
from .anatomy import Anatomy, Centre
from .bleeding import haemorrhage
from .carried import carried as carry
from .move import Mass, displacement, moved
from .resection import resection
from .sclerosis import sclerosis
from .shape import overlay
from .sites import site
from .stroke import lacunes, stroke
from .tumour import tumour

KINDS = {
    "sclerosis": sclerosis, "lacunes": lacunes, "stroke": stroke, "tumour": tumour, "haemorrhage": haemorrhage,
    "resection": resection,
}  # fmt: skip
PLACED = ("kind", "home", "place", "radius", "push")  # what of a lesion its kind need not know
Grown = list[dict[str, Any]]


def pathology(x: Volume, *, grown: Grown, carried: int | None, masks: Volume | None = None) -> Volume:
    """How much of each voxel is which diseased tissue [1]_.

    Parameters
    ----------
    x : Volume
        Label map of the healthy head, before anything pushes it.
    grown : list of lesions
        Each with its `kind`, one of `KINDS`, the parameters of that function, and, if it has one centre, `home` and
        `place` (see `sites.site`), `radius` and `push` in mm (see `move.Mass`).
    carried : int or None
        Which patient's mask to use.
    masks : Volume or None
        Masks of patients, one bit each, on the grid of `x`.

    Returns
    -------
    Volume
        (L, I, J, K), one map for each of `isomorph.labels.LESION_TISSUES`, 0 to 1, their sum at most 1; of the head
        after the push.

    References
    ----------
    .. [1] Iglesias et al., Sci Adv 2023, doi:10.1126/sciadv.add3607
    """
    return grow(x, grown=grown, carried=carried, masks=masks)[0]


def grow(x: Volume, *, grown: Grown, carried: int | None, masks: Volume | None = None) -> tuple[Volume, Tensor | None]:
    """The maps of `pathology`, and the displacement of the mass effect.

    Parameters
    ----------
    x, grown, carried, masks
        As for `pathology`.

    Returns
    -------
    maps : Volume
    push : (1, 3, N, N, N) tensor, mm, or None
        As `move.displacement` gives it; None if nothing pushes.
    """
    anatomy = Anatomy(x)
    centres = [site(anatomy, home=g["home"], place=g["place"]) if "home" in g else None for g in grown]
    push = _push(anatomy, grown, centres)
    if push is not None:
        anatomy, masks = Anatomy(moved(x, push)), masks and moved(masks, push)
    maps = torch.zeros(len(LESION_TISSUES), *x.shape, device=x.data.device)
    if masks is not None and carried is not None:
        overlay(maps, carry(anatomy, masks, carried))
    for lesion, centre in zip(grown, centres, strict=True):
        if centre is None and "home" in lesion:
            continue  # this part of the head has no place for it
        arguments = {name: value for name, value in lesion.items() if name not in PLACED}
        for patch in KINDS[lesion["kind"]](anatomy, centre, **arguments):
            overlay(maps, patch)
    return x.with_data(maps), push


def _push(anatomy: Anatomy, grown: Grown, centres: list[Centre | None]) -> Tensor | None:
    masses = [
        Mass(centre, lesion["radius"], lesion["push"])
        for lesion, centre in zip(grown, centres, strict=True)
        if centre is not None and lesion["push"]
    ]
    return displacement(anatomy, masses) if masses else None
