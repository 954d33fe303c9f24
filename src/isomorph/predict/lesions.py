"""Lesions: taken out before the network sees them, or kept as a T1 would show them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import Refusal
from ..io import Notice
from ..profile import smooth
from ..space import corners, field_of_view, resample
from ..volume import Volume
from .quality import body
from .restore import TOP, WHITE_MATTER

AWAY = 2.0  # mm around a lesion that belong neither to it nor to healthy tissue
REACH = 12.0  # mm: how far around it tissue is asked what a brightness means
EDGE = 0.7  # mm: a mask ends at a voxel, a lesion does not
TISSUE = (70.0, 125.0)  # of the T1: grey and white matter, and no mixture with fluid, which is dark in a FLAIR too
GREY, FLUID = 80.0, 25.0  # of the T1: below grey matter, brightness approaches that of fluid and never falls below
TELLS = 0.2  # correlation of scan and T1 in healthy tissue, from which on one may be read from the other
DOUBT = 0.02  # weight of the whole brain beside the neighbourhood of a lesion, as a share of its voxels
AIR, STRAY = 10.0, 0.05  # of the T1: below it there is no tissue; share of a mask that may be there all the same
NEARLY = 0.1  # mm at the corners: headers are rounded
WIDTHS = (2.0, 4.0, 8.0, 16.0)  # mm: lesions are filled from as near as there is something


def healed(scan: Volume, mask: Volume) -> Volume:
    """A scan whose lesions are filled with what surrounds them, so that the network has nothing to heal.

    Parameters
    ----------
    scan : Volume, (1, I, J, K)
    mask : Volume
        Lesions above 0.5; on any grid, at the same place in the world.

    Raises
    ------
    Refusal
        E507, if no lesion lies in the scan.
    """
    lesion = on_grid(mask, scan) > 0.5
    _found(lesion)
    known = (~_grown(lesion, AWAY, scan.spacing)).float()
    filled, missing = scan.data.clone(), lesion.clone()
    for width in WIDTHS:
        share, sums = _blur(torch.stack([known, known * scan.data[0]]), width, scan.spacing)
        reached = missing & (share > 0.05)
        filled[0][reached] = (sums / share.clamp(min=1e-6))[reached]
        missing &= ~reached
    if missing.any() and not missing.equal(lesion):  # the core of a very large one
        filled[0][missing] = filled[0][lesion & ~missing].mean()
    return scan.with_data(filled)


def kept(t1: Volume, scan: Volume, mask: Volume) -> Volume:
    """A synthetic T1 with its lesions: what the scan shows in them, as a T1 would show it [1]_.

    In the healthy tissue around a lesion a line is fitted from the T1 to the scan, and read the other way round inside
    it: what is brighter than grey matter in a FLAIR becomes darker than grey matter. Below grey matter the line bends
    towards the level of fluid. Where brightness runs against that of a T1 and a voxel lies beyond white matter (fluid
    in a FLAIR), a line says nothing, and the answer of the network stays.

    Parameters
    ----------
    t1 : Volume, (1, I, J, K)
        White matter at 110.
    scan : Volume, (1, I, J, K)
        That it was made of.
    mask : Volume
        Lesions above 0.5; on any grid, at the same place in the world.

    Raises
    ------
    Refusal
        E507, if no lesion lies in the scan; E508, if grey and white matter cannot be told apart in it.

    References
    ----------
    .. [1] Lesion filling the other way round: Battaglini et al., Human Brain Mapping 2012, doi:10.1002/hbm.21377
    """
    soft = on_grid(mask, t1)
    _found(soft > 0.5)
    x, y = resample(scan, t1.shape, t1.affine, fill=None).data[0], t1.data[0]
    healthy = (y > TISSUE[0]) & (y < TISSUE[1]) & ~_grown(soft > 0.5, AWAY, t1.spacing)
    healthy &= body(t1)  # skin and muscle may be as bright as the brain in a T1, and are not in the scan
    slope, level = _line(x, y, healthy.float(), t1.spacing)
    shown = WHITE_MATTER + (x - level) / slope
    bent = GREY - (GREY - FLUID) * (1 - torch.exp(-(GREY - shown).clamp(min=0) / (GREY - FLUID)))
    mapped = torch.where(shown < GREY, bent, shown).clamp(0, TOP)
    sure = torch.where(slope < 0, ((TISSUE[1] - shown) / (TISSUE[1] - WHITE_MATTER)).clamp(0, 1), 1.0)
    share = _blur(soft[None], EDGE, t1.spacing)[0] * sure
    return t1.with_data(torch.lerp(y, mapped, share)[None])


def misplaced(drawn: Volume, scan: Volume, mask: Volume, t1: Volume) -> tuple[Notice, ...]:
    """W607, where a mask may be that of another scan: it lies on another grid, or in air.

    Parameters
    ----------
    drawn, scan : Volume
        Lesions above 0.5, and the scan that they are said to have been drawn on.
    mask, t1 : Volume, (1, I, J, K)
        The same lesions where they lie in the T1, and that T1, white matter at 110.
    """
    beyond = ~field_of_view(scan, drawn.shape, drawn.affine)[drawn.data[0] > 0.5]
    seen = field_of_view(t1, mask.shape, mask.affine) & (mask.data[0] > 0.5)  # the T1 may be that of a smaller scan
    air = resample(t1, mask.shape, mask.affine).data[0][seen] < AIR
    share = max(int(x.sum()) / max(len(x), 1) for x in (beyond, air))
    if share > STRAY:
        return (Notice("W607", f"{100 * share:.0f} % of the lesion mask lie in air or beyond the scan: is it of it?"),)
    ends = (corners(grid.shape, grid.affine) for grid in (drawn, scan))
    if drawn.shape == scan.shape and np.allclose(*ends, atol=NEARLY):
        return ()
    return (Notice("W607", "the lesion mask is on another grid than the scan; it was put where its header says."),)


def on_grid(mask: Volume, like: Volume) -> Tensor:
    """Share of each voxel that is lesion; (I, J, K)."""
    hard = mask.with_data((mask.data[:1] > 0.5).float())
    return resample(hard, like.shape, like.affine).data[0]


def _found(lesion: Tensor) -> None:
    if not lesion.any():
        raise Refusal("E507", "no lesion of the mask lies in the scan", "give the mask of this very scan")


def _grown(mask: Tensor, mm: float, spacing: tuple[float, float, float]) -> Tensor:
    """A mask and what lies within some mm of it."""
    return mask | (_blur(mask.float()[None], mm / 2, spacing)[0] > 0.02)


def _blur(x: Tensor, mm: float, spacing: tuple[float, float, float]) -> Tensor:
    for axis, size in enumerate(spacing):
        x = smooth(x, mm / size, axis)
    return x


def _line(x: Tensor, y: Tensor, w: Tensor, spacing: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    """Slope of the scan on the T1 around each voxel, and level of white matter in the scan."""
    y = y - WHITE_MATTER
    scale = (x * w).abs().sum().div(w.sum().clamp(min=1)).clamp(min=1e-6)  # so that squares stay small numbers
    moments = torch.stack([w, w * x / scale, w * y, w * x * y / scale, w * y * y])
    whole = moments.sum(dim=(1, 2, 3))
    if whole[0] == 0 or abs(_correlation(x / scale, y, w)) < TELLS:
        reason = "grey and white matter cannot be told apart in the scan, so a lesion cannot be either"
        raise Refusal("E508", reason, "--lesions inpaint, or give another contrast")
    share = (whole / whole[0])[:, None, None, None]
    one, sx, sy, sxy, syy = _blur(moments, REACH, spacing) + DOUBT * share
    mean_x, mean_y = sx / one, sy / one
    slope = (sxy / one - mean_x * mean_y) / (syy / one - mean_y**2).clamp(min=1.0)
    known = ((whole[3] - whole[1] * whole[2] / whole[0]) / (whole[4] - whole[2] ** 2 / whole[0])).item()
    steep = abs(known) / 2  # around one lesion a line may be flat by chance: never flatter than half of the whole brain
    slope = (slope * (1 if known > 0 else -1)).clamp(min=steep) * (1 if known > 0 else -1)
    return slope * scale, (mean_x - slope * mean_y) * scale


def _correlation(x: Tensor, y: Tensor, w: Tensor) -> float:
    a, b = x[w > 0], y[w > 0]
    return torch.nan_to_num(torch.corrcoef(torch.stack([a, b]))[0, 1]).item()
