"""Several scans of one exam through a network that takes them all at once, whichever of them there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..align import aligned
from ..errors import UsageError
from ..intensity import normalise, robust_range, soft_tissue
from ..space import field_of_view, reliability, resample
from ..volume import Volume
from ..weights import Model, channels, samples_of
from .prepare import Prepared, prepare
from .result import Part

T = TypeVar("T")


def fit(scans: Sequence[T | None], model: Model) -> list[T | None]:
    """The scans in the order of the channels of a model; what is missing at the end is missing.

    Parameters
    ----------
    scans : sequence
        Volumes or files, None where one is missing.
    model : Model

    Raises
    ------
    UsageError
        If there are more scans than channels, none at all, or one is missing that the model cannot do without.
    """
    n, given = channels(model), sum(scan is not None for scan in scans)
    if not 0 < given <= len(scans) <= n:
        said = f"{given} of {len(scans)} were given"
        raise UsageError(f"{model.card['name']} takes 1 to {n} scans of one exam, {said}; give as many.")
    whole = [*scans, *[None] * (n - len(scans))]
    generator = samples_of(model.card)
    if generator.get("leads") and whole[0] is None:
        raise UsageError(f"{model.card['name']} takes its detail from the first scan; give that one.")
    if given < n and not generator.get("dropout", 0):
        raise UsageError(f"{model.card['name']} needs all {n} scans of an exam, {given} were given; give them all.")
    return whole


def together(
    scans: Sequence[Volume | None], model: Model, *, ct: bool = False
) -> tuple[Volume, Prepared, list[Volume | None]]:
    """Register the scans to the first one that is there, and stack them as the generator does.

    Parameters
    ----------
    scans : sequence of Volume or None
        As `fit` gives them.
    model : Model
    ct : bool

    Returns
    -------
    image : Volume, (C, I, J, K)
        All scans, then all reliability maps where the model reads them; zero where a scan is missing.
    prepared : Prepared
        Of the reference.
    placed : list of Volume or None
        The scans where registration put them.
    """
    first = next(scan for scan in scans if scan is not None)
    ready = prepare(first, int(getattr(model.network, "multiple", 1)), ct=ct)
    placed = [scan if scan is None or scan is first else aligned(scan, first) for scan in scans]
    images, maps = [], []
    for scan in placed:
        if scan is None:
            images.append(torch.zeros_like(ready.image.data))
            maps.append(torch.zeros_like(ready.image.data))
            continue
        images.append(ready.image.data if scan is first else _alike(scan, ready.image, ct=ct)[None])
        grid = ready.image.shape, ready.image.affine
        maps.append(reliability(scan.shape, scan.affine, *grid, ready.image.data.device)[None])
    stack = [*images, *maps] if model.card.get("reliability") else images
    return ready.image.with_data(torch.cat(stack)), ready, placed


def _alike(scan: Volume, like: Volume, *, ct: bool) -> Tensor:
    """Another scan on the grid of the reference, normalised by itself; (I, J, K)."""
    scan = scan.with_data(soft_tissue(scan.data)) if ct else scan
    view = field_of_view(scan, like.shape, like.affine)
    x = resample(scan, like.shape, like.affine).data[0]
    low, high = robust_range(x[view] if view.any() else x)
    return normalise(x, low, high) * view


def registered(
    scans: Sequence[Volume | None], placed: Sequence[Volume | None], window: tuple[float, float]
) -> tuple[int, tuple[Part, ...]]:
    """What is told of the scans: which is the reference, and where registration put each.

    Parameters
    ----------
    scans, placed : sequences of Volume or None
        Before and after registration.
    window : (low, high)
        Intensities of the reference that became air and bright tissue.
    """
    there = [(k, a, b) for k, (a, b) in enumerate(zip(scans, placed, strict=True)) if a is not None and b is not None]
    share = round(1 / len(there), 4)
    parts = [Part(k, b.affine, round(moved(a, b), 2), 1.0, share, window) for k, a, b in there]
    return there[0][0], tuple(parts)


def moved(scan: Volume, placed: Volume) -> float:
    """How far registration moved the middle of a scan, in mm.

    Parameters
    ----------
    scan, placed : Volume
        Before and after.
    """
    middle = np.array([*(np.array(scan.shape) - 1) / 2, 1])
    return float(np.linalg.norm((placed.affine - scan.affine) @ middle))
