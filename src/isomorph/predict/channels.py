"""Several scans of one exam through a network that takes them all at once, whichever of them there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..align import aligned, moved
from ..errors import UsageError
from ..intensity import normalise, robust_range, soft_tissue
from ..space import field_of_view, reliability, resample
from ..volume import Volume
from ..weights import Model, channels, interchangeable, samples_of
from .exam import thinnest
from .prepare import Prepared, prepare
from .restore import WHITE_MATTER
from .result import Part
from .stages import Report


class Unfit(UsageError):
    """The scans of an exam are too many or too few for a model: of several exams, the others may fit.

    Parameters
    ----------
    reason : str
        What was given, and what was expected.
    remedy : str
        What the user can do about it.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}.")
        self.reason, self.remedy = reason, remedy


def fit(scans: Sequence[object | None], model: Model) -> None:
    """Refuse an exam that a model cannot take.

    Parameters
    ----------
    scans : sequence
        Volumes or files, None where one is missing.
    model : Model

    Raises
    ------
    Unfit
        If there are more scans than channels, none at all, or one is missing that the model cannot do without.
    """
    n, given = channels(model), sum(scan is not None for scan in scans)
    if not 0 < given <= len(scans) <= n:
        said = f"{given} of {len(scans)} were given"
        raise Unfit(f"{model.card['name']} takes 1 to {n} scans of one exam, {said}", "give as many")
    if given < n and not samples_of(model.card).get("dropout", 0):
        raise Unfit(f"{model.card['name']} needs all {n} scans of an exam, {given} were given", "give them all")


def seats(scans: Sequence[Volume | None], model: Model) -> list[int]:
    """Which scan each channel gets: as they were given or, if all channels but the reference are alike, the best first.

    Parameters
    ----------
    scans : sequence of Volume or None
        That `fit` lets pass.
    model : Model

    Returns
    -------
    list of int
        What is missing at the end is missing.
    """
    if not interchangeable(model):
        return list(range(len(scans)))
    there = {k: scan for k, scan in enumerate(scans) if scan is not None}
    if len(there) == 1:
        return list(there)
    bright = [x.with_data(WHITE_MATTER * normalise(x.data, *robust_range(x.data))) for x in there.values()]
    first = list(there)[thinnest(list(there.values()), bright)[0]]
    return [first, *(k for k in there if k != first)]


def onto_first(scans: Sequence[Volume | None], report: Report | None = None) -> list[Volume | None]:
    """The scans where registration to the first one that is there puts them.

    Parameters
    ----------
    scans : sequence of Volume or None
    report : callable, optional
        Told the share of the work that is done.
    """
    first = next(scan for scan in scans if scan is not None)
    placed: list[Volume | None] = []
    for scan in scans:
        if report:
            report(len(placed) / len(scans))
        placed.append(scan if scan is None or scan is first else aligned(scan, first))
    return placed


def together(placed: Sequence[Volume | None], model: Model, *, ct: bool = False) -> tuple[Volume, Prepared]:
    """Stack scans as the generator does.

    Parameters
    ----------
    placed : sequence of Volume or None
        One for each channel, as far as there are any, where `onto_first` put them.
    model : Model
    ct : bool

    Returns
    -------
    image : Volume, (C, I, J, K)
        All scans, then all reliability maps where the model reads them; zero where a scan is missing.
    prepared : Prepared
        Of the reference, the first one that is there.
    """
    first = next(scan for scan in placed if scan is not None)
    ready = prepare(first, int(getattr(model.network, "multiple", 1)), ct=ct)
    images, maps = [], []
    for scan in [*placed, *[None] * (channels(model) - len(placed))]:
        if scan is None:
            images.append(torch.zeros_like(ready.image.data))
            maps.append(torch.zeros_like(ready.image.data))
            continue
        images.append(ready.image.data if scan is first else _alike(scan, ready.image, ct=ct)[None])
        grid = ready.image.shape, ready.image.affine
        maps.append(reliability(scan.shape, scan.affine, *grid, ready.image.data.device)[None])
    stack = [*images, *maps] if model.card.get("reliability") else images
    return ready.image.with_data(torch.cat(stack)), ready


def _alike(scan: Volume, like: Volume, *, ct: bool) -> Tensor:
    """Another scan on the grid of the reference, normalised by itself; (I, J, K)."""
    scan = scan.with_data(soft_tissue(scan.data)) if ct else scan
    view = field_of_view(scan, like.shape, like.affine)
    x = resample(scan, like.shape, like.affine).data[0]
    low, high = robust_range(x[view] if view.any() else x)
    return normalise(x, low, high) * view


def registered(
    scans: Sequence[Volume | None],
    placed: Sequence[Volume | None],
    order: Sequence[int],
    window: tuple[float, float],
) -> tuple[int, tuple[Part, ...]]:
    """What is told of the scans: which is the reference, and where registration put each.

    Parameters
    ----------
    scans, placed : sequences of Volume or None
        Before and after registration.
    order : sequence of int
        The places of these scans in the exam, by which they are told.
    window : (low, high)
        Intensities of the reference that became air and bright tissue.
    """
    there = [(k, a, b) for k, a, b in zip(order, scans, placed, strict=True) if a is not None and b is not None]
    first = there[0][0]
    parts = {k: Part(k, b.affine, round(moved(a, b), 2), window if k == first else None) for k, a, b in there}
    return first, tuple(parts[k] for k in sorted(parts))
