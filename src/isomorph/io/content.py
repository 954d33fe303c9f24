"""Is there a head in these voxels? Rules on intensities; they look, and leave the voxels alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool1d

from isomorph.errors import Refusal
from isomorph.intensity import FOREGROUND, SAMPLES, robust_range, sampled
from isomorph.io.names import Notice

LABELS = 64  # distinct whole numbers that a segmentation may have
FLATNESS = 0.7  # share of equal neighbours inside the foreground: segmentations 0.86 and more, scans below 0.4
LEAST = 10.0  # cm3 of content
HANDFUL = 100  # voxels: fewer are not even a mask
SOFT = (5.0, 100.0)  # Hounsfield units: half of what lies above water in a head that shows no air
PADDING = -1100.0  # Hounsfield units: below, nothing was measured
TISSUE = -300.0  # Hounsfield units: above the air and the foam of the table
HOT = 20.0  # times the bright end: no tissue, no contrast agent
BRAIN = (500.0, 1900.0)  # cm3 inside the skull
DEPTH = 8.0  # mm: scalp and skull are thicker, grey matter begins above


@dataclass(frozen=True)
class Look:
    """What was seen.

    Parameters
    ----------
    modality : str
        Guess, ``ct`` or ``mr``.
    volume : float
        Foreground in cm3.
    coverage : float
        Smallest extent of the foreground in mm.
    ceiling : float or None
        Value at which hot voxels are to be clipped.
    offset : float
        To add to a CT to make its values Hounsfield units.
    notices : tuple of Notice
    """

    modality: str
    volume: float
    coverage: float
    ceiling: float | None
    offset: float
    notices: tuple[Notice, ...]


def look(x: Tensor, spacing: tuple[float, float, float], *, ct: bool = False, thin: bool = False) -> Look:
    """Judge an image.

    Parameters
    ----------
    x : (I, J, K) tensor
        Finite, in file units.
    spacing : (3,) mm
    ct : bool
        The user says that this is a CT.
    thin : bool
        Too few slices or voxels to judge coverage.

    Raises
    ------
    Refusal
        E502 constant, E503 almost empty, E504 a label map or mask.
    """
    least, most = x.min().item(), x.max().item()
    if most - least <= 1e-6 * max(abs(most), abs(least)):
        raise Refusal("E502", f"the image is constant ({most:g}): no contrast", "export the scan again")
    voxel = float(np.prod(spacing)) / 1000
    phase = _phase(x)
    hounsfield, offset, notices = (False, 0.0, []) if phase else _tomogram(x, least, most)
    modality = "ct" if ct or hounsfield else "mr"
    if ct and not hounsfield and _no_tomogram(x, least, most):
        notices.append(Notice("W511", "does not look like Hounsfield units, taken for them; leave out --ct for MR"))
    low, high = robust_range(x)
    raised, low = low > 0, max(low, least)  # an export may have put the air above zero
    floor = TISSUE - offset if hounsfield and least + offset < TISSUE else low + FOREGROUND * (high - low)
    mask = x > floor
    count = int(mask.sum())
    if modality == "mr" and count >= HANDFUL and labelled(x):
        reason = f"at most {LABELS} flat whole numbers: a label map or mask, not a scan"
        raise Refusal("E504", reason, "give the scan itself")
    volume = count * voxel
    if high <= low or volume < LEAST:
        raise Refusal("E503", f"content of {volume:.2g} cm3, at least {LEAST:g} cm3 is needed", "give a scan of a head")
    ceiling = None
    if modality == "mr":
        more, ceiling = _signal(x, low, high, most, phase)
        notices += more
        if raised and all(n.code != "W506" for n in more):  # noise has no air
            notices.append(Notice("W512", f"the darkest voxels lie near {low:.4g}, far above 0: taken for air"))
    profiles = [mask.sum(dim=[a for a in range(3) if a != axis]) for axis in range(3)]
    seen = [torch.nonzero(p > 0.01 * p.max()).flatten() for p in profiles]
    coverage = min(float(s[-1] - s[0] + 1) * mm for s, mm in zip(seen, spacing, strict=True))
    # The table of a CT lies apart from the head, and that is no gap.
    gaps = [n for n in _gaps(profiles) if n.code == "W507" or modality == "mr"]
    notices += gaps
    if not (gaps or thin or modality == "ct") and _brain_only(x, least, low, high, spacing):
        notices.append(Notice("W509", "the skull seems to be stripped: the T1 shows none, or one that is invented"))
    return Look(modality, volume, coverage, ceiling, offset, tuple(notices))


def _tomogram(x: Tensor, least: float, most: float) -> tuple[bool, float, list[Notice]]:
    """Whether values are Hounsfield units, and what to add or know if they nearly are."""
    s = sampled(x)

    def share(low: float, high: float) -> float:
        return ((s >= low) & (s <= high)).float().mean().item()

    beyond, measured = share(-4096, -1500), s >= PADDING
    if least < PADDING and bool(measured.any()):  # what lies beyond the gantry says nothing of the scale
        s = s[measured]
        least = s.min().item()
    if least < -500 and most > 200:
        air, tissue = beyond + share(-1100, -900), share(-20, 100)
        return air > 0.05 and tissue > 0.03, 0.0, []
    if least < 0 or not bool((s == s.round()).all()):
        return False, 0.0, []
    head = 1 - share(0, 24)
    if most > 1300 and 0.05 < head < 0.95 and share(1004, 1124) > 0.3 * head and share(100, 880) < 0.15 * head:
        return True, -1024.0, [Notice("W503", "looks like a CT stored 1024 too high; --ct corrects it")]
    bright = share(255, 255)
    if (
        most == 255
        and 0.03 * head < bright < 0.6 * head
        and share(40, 180) > 0.1 * head
        and not share(181, 254) > bright
    ):
        return True, 0.0, [Notice("W504", "looks like a CT squeezed to 8 bits: Hounsfield units are lost")]
    return False, 0.0, []


def _no_tomogram(x: Tensor, least: float, most: float) -> bool:
    """Whether a user can hardly mean a CT: nothing below water, and what is above it no soft tissue. A CT that
    was clipped or stripped of its skull has nothing below water either."""
    s = sampled(x)
    return least >= 0 and most > 0 and not SOFT[0] < s[s > 0].median().item() < SOFT[1]


def labelled(x: Tensor) -> bool:
    """Whether the image is flat patches of few whole numbers."""
    s = sampled(x)
    if x.numel() <= 1e5 or not bool((s == s.round()).all()) or s.unique().numel() > LABELS:
        return False
    if not bool((x == x.round()).all()) or x.unique().numel() > LABELS:
        return False
    first, second = x[:-1], x[1:]
    inside = (first > x.min()) & (second > x.min())
    pairs = int(inside.sum())
    return pairs == 0 or ((first == second) & inside).sum().item() > FLATNESS * pairs


def _signal(x: Tensor, low: float, high: float, most: float, phase: bool) -> tuple[list[Notice], float | None]:
    """Hot voxels, phase images, noise."""
    notices: list[Notice] = []
    ceiling = low + HOT * (high - low)
    hot = most > ceiling
    if hot:
        count = int((x > ceiling).sum())
        notices.append(Notice("W502", f"{count} voxels are more than {HOT:g} times brighter than tissue; clipped"))
    elif phase:
        return [Notice("W505", "values spread evenly around zero: a phase image?")], None
    x = x.clamp(max=ceiling) if hot else x
    if max(_likeness(x, axis) for axis in range(3)) < 0.2:
        notices.append(Notice("W506", "neighbouring voxels have nothing in common: noise, no head found"))
    return notices, ceiling if hot else None


def _phase(x: Tensor) -> bool:
    s = sampled(x)
    s = s[s != 0]
    if s.numel() < 1000 or not s.min() < 0 < s.max():
        return False
    top, bottom = s.max().item(), -s.min().item()
    end = max(top, bottom)
    even = abs(top - bottom) < 0.05 * end and abs(s.mean().item()) < 0.1 * end
    return even and s.std().item() > 0.4 * end


def _likeness(x: Tensor, axis: int) -> float:
    """Correlation of neighbours along an axis."""
    step = max(1, round((x.numel() / SAMPLES) ** 0.5))
    lines = x[tuple(slice(None) if a == axis else slice(None, None, step) for a in range(3))]
    n = x.shape[axis]
    first, second = lines.narrow(axis, 0, n - 1).flatten(), lines.narrow(axis, 1, n - 1).flatten()
    return torch.nan_to_num(torch.corrcoef(torch.stack([first, second]))[0, 1]).item()


def _gaps(profiles: list[Tensor]) -> list[Notice]:
    """Slices that are missing: at an end (the head is cut) or in between."""
    notices: dict[str, Notice] = {}
    for profile in profiles:
        share = (profile / profile.max()).tolist()
        full = [i for i, v in enumerate(share) if v > 0]
        first, last = full[0], full[-1]
        holes = sum(v == 0 for v in share[first : last + 1])
        around = any(share[i] == 0 and max(share[i - 1], share[i + 1]) > 0.25 for i in range(first + 1, last))
        if holes and around:
            notices["W508"] = Notice("W508", f"{holes} empty slices inside the head")
        elif (first > 0 and share[first] > 0.5) or (last < len(share) - 1 and share[last] > 0.5):
            notices["W507"] = Notice("W507", "the head ends in the middle of the field of view: partial coverage")
    return list(notices.values())


def _brain_only(x: Tensor, least: float, low: float, high: float, spacing: tuple[float, float, float]) -> bool:
    """A brain in a perfectly flat background, bright to within a few millimetres of its edge."""
    mask = x > least
    count = mask.sum().item()
    volume = count * float(np.prod(spacing)) / 1000
    if not BRAIN[0] < volume < BRAIN[1] or count > 0.75 * x.numel():
        return False
    level = (x - low) / (high - low)
    if (mask & (level < FOREGROUND / 2)).sum().item() > 0.05 * count:
        return False
    outside = (~mask).float()
    for axis, mm in enumerate(spacing):
        reach = max(1, round(DEPTH / mm))
        line = outside.movedim(axis, -1)
        outside = max_pool1d(line, 2 * reach + 1, stride=1, padding=reach).movedim(-1, axis)
    return level[mask & (outside > 0)].median().item() > 0.3
