"""What of the head is in the image: the whole head, one without a face, or what a skull-stripping tool left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from ..labels import EXTRACEREBRAL, FLUID_OUTSIDE, LIMIT, brain_mask
from ..profile import smooth
from ..volume import Volume
from .step import Counts, Draw, Range, Share, Step, seed
from .texture import texture

WHOLE_HEAD = 1e6  # mm; JSON has no infinity
LUMP = 12.0  # mm: size of what a tool forgot to take away
COARSE = 2.0  # mm; where a bite lies need not be known more precisely
HULL = 6.0  # mm, of smoothing: gyri become one surface


class Ball(NamedTuple):
    """What a bite takes away."""

    centre: np.ndarray  # (3,), scanner coordinates, mm
    radius: float  # mm


def strip(
    x: Volume,
    *,
    margin: float,
    fluid: bool,
    remnants: float,
    bites: Sequence[Sequence[float]],
    face: float,
    tilt: float,
    seed: int,
) -> Volume:
    """Set everything outside the brain, or the face, to background [1]_, [2]_.

    Parameters
    ----------
    x : Volume
        Label map, axes along R, A, S.
    margin : mm
        How far from the brain tissue outside it survives; 0 for a perfect brain mask, `WHOLE_HEAD` to keep all.
    fluid : bool
        Keep the fluid around the brain.
    remnants : mm
        How far from the brain lumps of other tissue were left; 0 for none.
    bites : list of two numbers each
        What the mask lacks of the brain: where on its surface, 0 to 1, and the radius in mm.
    face : mm
        From the brain to the plane in front of which a whole head was removed; `WHOLE_HEAD` to keep the face.
    tilt : degrees
        Of the normal of this plane, from forward to downward.
    seed : int
        Of the shape of remnants.

    References
    ----------
    .. [1] Hoopes et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119474
    .. [2] Theyers et al., Front Psychiatry 2021, doi:10.3389/fpsyt.2021.617997
    """
    if margin < WHOLE_HEAD:
        x = x.with_data(torch.where(_stripped(x, margin, fluid, remnants, seed), 0, x.data))
    elif face < WHOLE_HEAD:
        x = x.with_data(torch.where(_faced(x, face, tilt), 0, x.data))
    return bite(x, bites) if bites else x


@cache
def _outside() -> Tensor:
    """1 for what is outside the brain, 2 for the fluid around it."""
    table = torch.zeros(LIMIT, dtype=torch.uint8)
    table[list(EXTRACEREBRAL)], table[FLUID_OUTSIDE] = 1, 2
    return table


def _stripped(x: Volume, margin: float, fluid: bool, remnants: float, seed: int) -> Tensor:
    kind = _outside().to(x.data.device)[x.data.long()]
    gone = kind == 1 if fluid else kind > 0
    brain = brain_mask(x.data) if margin or remnants else gone
    if margin > 0:
        gone &= ~_near(brain, margin, x.spacing)
    if remnants > 0:
        lumps = texture(seed, x.shape, x.spacing, LUMP, like=x.data)[None] > 1
        gone &= ~(lumps & _near(brain, remnants, x.spacing))
    return gone


def _faced(x: Volume, face: float, tilt: float) -> Tensor:
    """What of the head outside the brain lies beyond a plane in front of the brain."""
    ahead, down = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    _, j, k = (torch.arange(n, device=x.data.device) * mm for n, mm in zip(x.shape, x.spacing, strict=True))
    along = (ahead * j[:, None] - down * k)[None]  # mm; the same for all sagittal planes
    brain = brain_mask(x.data[0]).any(0)
    if not brain.any():
        return torch.zeros_like(x.data, dtype=torch.bool)
    beyond = along > along[0][brain].max() + face
    return (_outside().to(x.data.device)[x.data.long()] > 0) & beyond[None]


def bite(x: Volume, bites: Sequence[Sequence[float]]) -> Volume:
    """Take balls off the surface of the brain; `bites` as for `strip`."""
    return without(x, balls(x, bites))


def balls(x: Volume, bites: Sequence[Sequence[float]]) -> list[Ball]:
    """Where bites lie in a brain; none where there is no brain."""
    step = [max(1, round(COARSE / mm)) for mm in x.spacing]
    brain = blurred = brain_mask(x.data[:, :: step[0], :: step[1], :: step[2]]).float()
    for axis, (n, mm) in enumerate(zip(step, x.spacing, strict=True)):
        blurred = smooth(blurred, HULL / (n * mm), axis)
    # Neither the walls of sulci nor those of ventricles: what has little brain around it.
    surface = torch.nonzero(((brain > 0) & (blurred < 0.6))[0]).cpu().numpy() * step
    chosen = [(min(int(place * len(surface)), len(surface) - 1), radius) for place, radius in bites if len(surface)]
    return [Ball(x.affine[:3, :3] @ surface[k] + x.affine[:3, 3], radius) for k, radius in chosen]


def without(x: Volume, gone: Sequence[Ball]) -> Volume:
    """Labels without what lies in these balls."""
    if not gone:
        return x
    data = x.data.clone()
    axes = [torch.arange(n, device=data.device) for n in x.shape]
    for centre, radius in gone:
        where = np.linalg.inv(x.affine)[:3] @ [*centre, 1.0]
        i, j, k = (((at - c) * mm) ** 2 for at, c, mm in zip(axes, where.tolist(), x.spacing, strict=True))
        data[0][i[:, None, None] + j[:, None] + k < radius**2] = 0
    return x.with_data(data)


def _near(mask: Tensor, mm: float, spacing: Sequence[float]) -> Tensor:
    """A mask grown along each axis, one after the other: a box, at a fraction of the cost."""
    grown = mask.float()
    for axis, size in enumerate(spacing):
        radius = round(mm / size)
        kernel = [2 * radius + 1 if axis == k else 1 for k in range(3)]
        grown = max_pool3d(grown, kernel, stride=1, padding=[n // 2 for n in kernel]) if radius else grown
    return grown > 0


@dataclass(frozen=True, kw_only=True)
class Strip(Step):
    """From the whole head, through a generous brain mask, to a perfect one, and to one that is neither."""

    stripped: Share = 0.25  # share of heads that were skull-stripped
    margin: Range = (0.0, 6.0)  # mm
    perfect: Share = 0.5  # share of masks without margin
    leftover: Share = 0.0  # share of stripped heads with lumps of other tissue around the brain
    remnants: Range = (4.0, 20.0)  # mm from the brain
    bitten: Share = 0.0  # share of stripped heads whose mask bites into the brain; the target stays whole
    bites: Counts = (1, 5)
    bite: Range = (4.0, 14.0)  # mm, radius
    defaced: Share = 0.0  # share of whole heads without a face
    face: Range = (0.0, 12.0)  # mm from the brain
    tilt: Range = (25.0, 60.0)  # degrees, from forward to downward

    effect = staticmethod(strip)

    def draw(self, rng: Random) -> Draw:
        whole, perfect = rng.random() >= self.stripped, rng.random() < self.perfect
        margin = 0.0 if perfect else rng.uniform(*self.margin)
        lumps, bites = rng.random() < self.leftover, rng.random() < self.bitten
        count = 0 if whole or not bites else rng.randint(*self.bites)
        return {
            "margin": WHOLE_HEAD if whole else margin,
            "fluid": rng.random() < 0.5,
            "remnants": lumps * rng.uniform(*self.remnants),
            "bites": [[rng.random(), rng.uniform(*self.bite)] for _ in range(count)],
            "face": rng.uniform(*self.face) if rng.random() < self.defaced else WHOLE_HEAD,
            "tilt": rng.uniform(*self.tilt),
            "seed": seed(rng),
        }
