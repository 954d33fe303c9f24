"""What of the head is in the image: the whole head, or what a skull-stripping tool left."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from ..labels import EXTRACEREBRAL, FLUID_OUTSIDE, brain_mask
from ..volume import Volume
from .step import Draw, Range, Step

WHOLE_HEAD = 1e6  # mm; JSON has no infinity


def strip(x: Volume, *, margin: float, fluid: bool) -> Volume:
    """Set everything outside the brain to background.

    Parameters
    ----------
    x : Volume
        Label map.
    margin : mm
        How far from the brain tissue outside it survives; 0 for a perfect brain mask, `WHOLE_HEAD` to keep all.
    fluid : bool
        Keep the fluid around the brain.

    References
    ----------
    .. [1] Hoopes et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119474
    """
    if margin >= WHOLE_HEAD:
        return x
    labels = x.data.long()
    outside = torch.zeros_like(labels, dtype=torch.bool)
    for number in EXTRACEREBRAL:
        outside |= labels == number
    if not fluid:
        outside |= labels == FLUID_OUTSIDE
    if margin > 0:
        outside &= ~_dilate(brain_mask(labels), [round(margin / mm) for mm in x.spacing])
    return x.with_data(torch.where(outside, 0, x.data))


def _dilate(mask: Tensor, radius: list[int]) -> Tensor:
    kernel = [2 * r + 1 for r in radius]
    return max_pool3d(mask[None].float(), kernel, stride=1, padding=radius)[0] > 0


@dataclass(frozen=True, kw_only=True)
class Strip(Step):
    """From the whole head, through a generous brain mask, to a perfect one."""

    stripped: float = 0.25  # share of heads that were skull-stripped
    margin: Range = (0.0, 6.0)  # mm
    perfect: float = 0.5  # share of masks without margin

    effect = staticmethod(strip)

    def draw(self, rng: Random) -> Draw:
        whole, perfect = rng.random() >= self.stripped, rng.random() < self.perfect
        margin = 0.0 if perfect else rng.uniform(*self.margin)
        return {"margin": WHOLE_HEAD if whole else margin, "fluid": rng.random() < 0.5}
