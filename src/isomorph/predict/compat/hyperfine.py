"""The SynthSR of 2021 for pairs of T1 and T2 of a Hyperfine scanner, as its authors' script does it.

FreeSurfer's port forgets to subtract the least value of the T1 from the first channel; that is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...volume import Volume
from .grid import align, crop, pad, resample
from .rules import Fed, Rules, normalise

BRIGHT_T1, BRIGHT_T2 = 3.0, 2.0  # where the greatest value of each comes to lie: so the network was trained


def prepare_hyperfine(scans: Sequence[Volume], ct: bool = False) -> Fed:
    """Two channels on the grid of the T1: T1 from 0 to 3, T2 from 0 to 2, normalised, then padded.

    Parameters
    ----------
    scans : T1 and T2, (1, I, J, K)
        Registered through their headers.
    ct : bool
        There for all rules alike: they are no CT.

    Returns
    -------
    Fed
        Its range is that of the T1 which became 0 and 1 before the network's residual is added.
    """
    t1, t2 = scans
    x, native = resample(t1.data[0].double(), t1.affine)
    x, aligned = align(x, native)
    y, _, _ = normalise(like(t2.data[0].double(), t2.affine, x.shape, aligned))
    x, low, high = normalise(x)
    one, window = pad(BRIGHT_T1 * x)
    two, _ = pad(BRIGHT_T2 * y)
    return Fed(torch.stack([one, two]).float(), window, native, aligned, (low, low + (high - low) / BRIGHT_T1))


def restore_hyperfine(passes: Sequence[Tensor], fed: Fed, sharpen: bool = True) -> Volume:
    """Back to the units of the T1, nothing below 0; in RAS order, never sharpened.

    Parameters
    ----------
    passes : one (I, J, K) tensor
        Output of the network, its first channel added.
    fed : Fed
    sharpen : bool
        There for all rules alike.
    """
    low, high = fed.range
    x = crop((low + (high - low) * passes[0].double()).clamp(min=0), fed.window)
    return Volume(x[None].float(), fed.aligned)


def like(x: Tensor, affine: np.ndarray, shape: Sequence[int], grid: np.ndarray) -> Tensor:
    """Linear interpolation onto another grid, 0 beyond the outermost centres, never smoothed.

    Parameters
    ----------
    x : (I, J, K) float64 tensor
    affine : (4, 4) array
    shape, grid
        Of the new grid.
    """
    move = torch.from_numpy(np.linalg.inv(affine) @ grid)
    i, j, k = (torch.arange(n, dtype=torch.float64) for n in shape)
    out = x.new_zeros(tuple(shape))
    last = torch.tensor([n - 1 for n in x.shape])
    for plane in range(len(i)):
        at = torch.stack([r[0] * i[plane] + r[1] * j[:, None] + r[2] * k + r[3] for r in move[:3]], -1)
        inside = ((at >= 0) & (at <= last)).all(-1)
        at = at[inside]
        below = torch.minimum(at.floor().long(), (last - 1).clamp(min=0))
        share, value = at - below, torch.zeros(len(at), dtype=torch.float64)
        for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
            weight = torch.where(corner.bool(), share, 1 - share).prod(-1)
            a, b, c = torch.minimum(below + corner, last).T
            value += weight * x[a, b, c]
        out[plane][inside] = value
    return out


HYPERFINE = Rules(prepare_hyperfine, restore_hyperfine, None, None, "float32", mirrored=False)
