"""Several scans of one exam, and one T1 of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..align import aligned, moved
from ..errors import Refusal
from ..io import Notice
from ..space import field_of_view, resample
from ..volume import Volume
from .find import SURE, Lesions, agreed, unshown
from .lesions import kept, on_grid
from .quality import body
from .restore import WHITE_MATTER
from .result import Part, Result
from .stages import Clock, Report, untimed

EQUAL = 1.1  # slices that differ by less than this factor are equally thick
HEAD = 20.0  # of the T1: what is not air
WHOLE = 0.7  # of the largest head seen, neck and all: a scan that holds less would cut the others down to its slab
DIFFERENT = 0.75  # correlation of two T1s, skull and all: of one patient 0.87, of two patients 0.63 (one case each)
RIM = 8.0  # mm: towards the edge of its field of view a scan fades, so that no seam shows

SILENT = Notice("W606", "no scan that shows lesions, or was filled, covers them all; what others saw is taken there")

Single = Callable[[Volume], Result]
Find = Callable[[Volume], Lesions]


@dataclass(frozen=True, eq=False)
class _Placed:
    """The T1 of one scan on the grid of the reference."""

    t1: Tensor
    weight: Tensor
    doubt: Tensor | None
    part: Part
    agreement: float


def fused(
    scans: Sequence[Volume | None],
    single: Single,
    given: Lesions | None = None,
    find: Find | None = None,
    *,
    keep: bool = False,
    white: float = WHITE_MATTER,
    clock: Clock = untimed,
) -> Result:
    """One T1 of several scans of one head, with a model for single scans.

    Each scan becomes a T1; the T1s, which have one contrast, are registered to that of the best scan; and their mean
    is taken. A scan counts by how thin its slices are and, where that is known, a voxel by how sure the network is.

    Parameters
    ----------
    scans : sequence of Volume or None
        Two or more, None in the place of one that is missing.
    single : callable
        Makes the T1 of one scan.
    given : Lesions, optional
        Where they are, drawn on the first scan; in which they are filled already, unless they are to be kept.
    find : callable, optional
        Finds the lesions of one scan, where none are given.
    keep : bool
        Show them.
    white : float
        Level of white matter in the T1s.
    clock : callable, optional
        What times the stages of this, ``align`` and ``fuse``; those of `single` and `find` time themselves.

    Returns
    -------
    Result
        On the grid of the best scan; with `parts` for each scan, and the time that all took together to become T1s.

    Raises
    ------
    Refusal
        As `kept`, if no scan can show the lesions that were given.
    """
    there = {k: scan for k, scan in enumerate(scans) if scan is not None}
    results = {k: single(scan) for k, scan in there.items()}
    with clock("align") as report:
        best, placed = _registered(there, results, WHITE_MATTER / white, report)
    here = results[best]
    used = [p for p in placed if p.agreement >= DIFFERENT]
    if given:
        given = _moved(given, placed[0], there[placed[0].part.index])
    elif find:
        each = [_moved(find(there[p.part.index]), p, there[p.part.index]) for p in used]
        given = agreed(each, here.volume)
    with clock("fuse"):
        if given and not given.none:
            used, given = _with_lesions(used, there, here.volume, given, keep=keep)
        mean, doubt, shares = _mean(used)
    share = dict(zip((p.part.index for p in used), shares, strict=True))
    parts = tuple(replace(p.part, agreement=round(p.agreement, 4), share=share.get(p.part.index, 0.0)) for p in placed)
    left_out = [_left_out(p) for p in placed if p.part.index not in share]
    told = {notice.code: notice for result in results.values() for notice in result.notices}
    seconds = {stage: round(sum(r.seconds.get(stage, 0.0) for r in results.values()), 4) for stage in here.seconds}
    return replace(
        here,
        volume=here.volume.with_data(mean[None]),
        uncertainty=None if doubt is None else here.volume.with_data(doubt[None]),
        seconds=seconds,
        reference=best,
        parts=parts,
        lesions=given,
        notices=(*told.values(), *left_out, *(given.notices if given else ())),
    )


def reference(scans: Sequence[Volume], t1s: Sequence[Volume]) -> int:
    """Which scan the others are brought to: one of `thinnest`, the one that is most like a T1 already.

    Parameters
    ----------
    scans, t1s : sequences of Volume
        The scans, and the T1s made of them, white matter at 110.
    """
    thin = thinnest(scans, t1s)
    return thin[0] if len(thin) == 1 else max(thin, key=lambda k: _likeness(scans[k], t1s[k]))


def thinnest(scans: Sequence[Volume], heads: Sequence[Volume]) -> list[int]:
    """Which scans have the thinnest slices of those that hold the whole head.

    Parameters
    ----------
    scans, heads : sequences of Volume
        The scans, and images on their grids in which the head is brighter than `HEAD`; all where their headers say.
    """
    most = max(heads, key=lambda x: float((x.data > HEAD).sum()) * math.prod(x.spacing))
    head = most.data[0] > HEAD
    held = [(head & field_of_view(x, most.shape, most.affine)).sum() for x in heads]
    thick = {k: max(scans[k].spacing) for k, voxels in enumerate(held) if voxels >= WHOLE * head.sum()}
    return [k for k, mm in thick.items() if mm < EQUAL * min(thick.values())]


def _registered(
    scans: Mapping[int, Volume], results: Mapping[int, Result], scale: float, report: Report
) -> tuple[int, list[_Placed]]:
    """The reference, and each T1 where it lies best on it.

    The thinnest scan may be a bad one: if fewer than half of the others agree with a reference, the next best is tried.
    """
    left, best, placed = list(scans), -1, list[_Placed]()
    t1s = {k: result.volume.with_data(result.volume.data * scale) for k, result in results.items()}
    while left:
        k = left.pop(reference([scans[k] for k in left], [t1s[k] for k in left]))
        onto = list[_Placed]()
        for n, scan in scans.items():
            report(len(onto) / len(scans))
            onto.append(_placed(n, scan, results[n], results[k].volume))
        if _agreeing(onto) > _agreeing(placed):
            best, placed = k, onto
        if len(scans) < 3 or 2 * _agreeing(onto) > len(scans):
            break
    return best, placed


def _agreeing(placed: Sequence[_Placed]) -> int:
    """How many match the reference, which itself does."""
    return sum(p.agreement >= DIFFERENT for p in placed)


def _likeness(scan: Volume, t1: Volume) -> float:
    """Correlation of a scan with the T1 made of it, in the brain: fat of the scalp is bright in each contrast."""
    x = resample(scan, t1.shape, t1.affine).data[0]
    return correlation(x, t1.data[0], (t1.data[0] > HEAD) & body(t1))


def correlation(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """Pearson's, inside a mask; 0 where one of the two is constant or the mask is empty.

    Parameters
    ----------
    a, b : (I, J, K) tensors
    mask : (I, J, K) tensor of bool
    """
    if mask.sum() < 2:
        return 0.0
    return torch.nan_to_num(torch.corrcoef(torch.stack([a[mask], b[mask]]))[0, 1]).item()


def _placed(index: int, scan: Volume, result: Result, fixed: Volume) -> _Placed:
    """Register the T1 of a scan to that of the reference, and say what each voxel of it counts."""
    t1 = result.volume
    still = t1 is fixed
    there = t1 if still else aligned(t1, fixed)
    move = there.affine @ np.linalg.inv(t1.affine)  # in the world
    affine, grid = move @ scan.affine, (fixed.shape, fixed.affine)
    y = t1.data[0] if still else resample(there, *grid).data[0]
    seen = field_of_view(Volume(scan.data, affine), *grid)
    # Weights that follow each slice and gap were tried: patterns of slices came through, and two visits agreed less.
    weight = _faded(seen) / max(scan.spacing)
    both = seen & (fixed.data[0] > 0) & ((y > HEAD) | (fixed.data[0] > HEAD))
    doubt = result.uncertainty and resample(Volume(result.uncertainty.data, there.affine), *grid).data[0]
    agreement = 1.0 if still else correlation(y, fixed.data[0], both)
    far = round(moved(scan, Volume(scan.data, affine)), 2)
    return _Placed(y, weight, doubt, Part(index, affine, far, result.window), agreement)


def _moved(lesions: Lesions, placed: _Placed, scan: Volume) -> Lesions:
    """With the scan on which they were seen, to where registration put it."""
    move = placed.part.affine @ np.linalg.inv(scan.affine)
    return replace(lesions, mask=Volume(lesions.mask.data, move @ lesions.mask.affine))


def _with_lesions(
    used: Sequence[_Placed], scans: Mapping[int, Volume], like: Volume, lesions: Lesions, *, keep: bool
) -> tuple[list[_Placed], Lesions]:
    """Inside lesions only scans that show them count, or the one that was filled; where none of these saw, all do."""
    if keep:
        try:
            heard, silent = _shown(used, scans, like, lesions.mask)
        except Refusal as refusal:
            return list(used), unshown(lesions, refusal)
    else:
        first = next(iter(scans))
        heard, silent = ([p for p in used if (p.part.index == first) == same] for same in (True, False))
    lesion = on_grid(lesions.mask, like)
    seen = sum((p.weight for p in heard), torch.zeros_like(lesion)) > 0
    if any((p.weight[(lesion > SURE) & ~seen] > 0).any() for p in silent):
        lesions = replace(lesions, notices=(*lesions.notices, SILENT))
    return [*heard, *(replace(p, weight=p.weight * (1 - lesion * seen)) for p in silent)], lesions


def _shown(
    used: Sequence[_Placed], scans: Mapping[int, Volume], like: Volume, mask: Volume
) -> tuple[list[_Placed], list[_Placed]]:
    """Each T1 with what its scan shows in the lesions; and those of scans that cannot tell."""
    shown, silent = [], []
    for p in used:
        try:
            t1 = kept(like.with_data(p.t1[None]), Volume(scans[p.part.index].data, p.part.affine), mask).data[0]
            shown.append(replace(p, t1=t1))
        except Refusal as refusal:
            if refusal.code != "E508" or (not shown and len(silent) == len(used) - 1):
                raise
            silent.append(p)
    return shown, silent


def _faded(seen: Tensor) -> Tensor:
    """1 well inside the field of view, less in its rim, 0 outside."""
    inside = seen.float()
    for axis in range(3):
        n = seen.shape[axis]
        lines = [torch.arange(1, n + 1), torch.arange(n, 0, -1)]
        ends = [line.to(seen.device).reshape([-1 if a == axis else 1 for a in range(3)]) for line in lines]
        count = inside.gt(0).cumsum(axis), inside.gt(0).flip(axis).cumsum(axis).flip(axis)
        depth = torch.minimum(torch.minimum(*ends), torch.minimum(*count))
        inside = inside * (depth / RIM).clamp(max=1) * seen
    return inside


def _mean(used: Sequence[_Placed]) -> tuple[Tensor, Tensor | None, list[float]]:
    """Weighted mean, its uncertainty, and the share of each scan in it."""
    doubts = [p.doubt for p in used if p.doubt is not None]
    weights = [p.weight for p in used]
    if len(doubts) == len(used):
        weights = [w / doubt.clamp(min=1) ** 2 for w, doubt in zip(weights, doubts, strict=True)]
    total = torch.stack(weights).sum(0)
    parts = [w / total.clamp(min=1e-12) for w in weights]
    mean = sum((part * p.t1 for part, p in zip(parts, used, strict=True)), torch.zeros_like(total))
    shares = [round(float(part[total > 0].mean()), 4) for part in parts]
    if len(doubts) < len(used):
        return mean, None, shares
    # Errors of one network on one head are alike: doubts are averaged, not divided by the root of their number.
    own = sum((part * doubt**2 for part, doubt in zip(parts, doubts, strict=True)), torch.zeros_like(total))
    return mean, own.sqrt(), shares


def _left_out(p: _Placed) -> Notice:
    said = f"scan {p.part.index + 1} of the exam does not match the others (correlation {p.agreement:.2f})"
    return Notice("W602", f"{said}: left out; is it of the same head?")
