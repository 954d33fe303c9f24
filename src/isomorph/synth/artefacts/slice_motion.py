"""A head that moves while one slice after the other is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ...profile import sample
from ...volume import Volume
from ..step import Draw, Range, Share, Step, randn, seed
from .orientation import across, in_plane


def slice_motion(x: Volume, *, axis: int, shift: float, turn: float, interleave: int, seed: int) -> Volume:
    """Each slice shows what was there when it was taken: displaced and turned in its plane, and from beside it [1]_.

    Parameters
    ----------
    x : Volume
        As acquired: one voxel for each slice.
    axis : 0, 1 or 2
        Across the slices, where the voxels do not show it.
    shift : mm
        Standard deviation over the scan of the position in each of the three directions. Through the slices what lay
        between two of them is interpolated.
    turn : degrees
        Standard deviation of the rotation in the plane of the slices.
    interleave : int
        1 takes neighbours one after the other; 2 takes every other slice first, so that neighbours differ most.
    seed : int
        Of the path, a random walk in time.

    References
    ----------
    .. [1] Malamateniou et al., AJNR 2013, doi:10.3174/ajnr.A3128
    """
    if shift == 0 and turn == 0:
        return x
    n = x.shape[across(x, axis)]
    path = randn(seed, 4, n, like=x.data).cumsum(1)
    path = (path - path.mean(1, keepdim=True)) / path.std(1, keepdim=True).clamp(min=1e-6) if n > 1 else path * 0
    order = torch.cat([torch.arange(first, n, interleave) for first in range(interleave)])
    time = torch.empty(n, dtype=torch.long)
    time[order] = torch.arange(n)
    path = path[:, time.to(path.device)]
    return displaced(beside(x, axis, shift * path[3]), axis, shift * path[:2].T, turn * path[2])


def beside(x: Volume, axis: int, shifts: Tensor) -> Volume:
    """Take each slice some mm further on; beyond the first and the last they come again.

    Parameters
    ----------
    x : Volume
    axis : 0, 1 or 2
        As for `slice_motion`.
    shifts : (N,) tensor, mm
    """
    through = across(x, axis)
    where = torch.arange(len(shifts), device=shifts.device) + shifts / x.spacing[through]
    return x.with_data(sample(x.data, where, through))


def displaced(x: Volume, axis: int, shifts: Tensor, turns: Tensor) -> Volume:
    """Move each slice in its plane.

    Parameters
    ----------
    x : Volume
    axis : 0, 1 or 2
        As for `slice_motion`.
    shifts : (N, 2) tensor, mm
        Of the content of each slice, along the two axes of the plane.
    turns : (N,) tensor, degrees
        About the middle of the slice, from the first of these axes to the second.
    """
    through, (first, second) = across(x, axis), in_plane(x, axis)
    stack = x.data.movedim(through + 1, 0)  # N slices of (C, first, second)
    half = torch.tensor([(x.shape[k] - 1) / 2 * x.spacing[k] for k in (first, second)]).clamp(min=1e-3)
    angle = turns * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    # From where a voxel is to where its content was, in mm; then in the units and the order of grid_sample.
    back = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    origin = -(back @ shifts[..., None])
    scaled = torch.cat([back * half.to(back)[None, None, :], origin], -1) / half.to(back)[None, :, None]
    theta = scaled[:, [1, 0]][:, :, [1, 0, 2]]
    grid = affine_grid(theta, list(stack.shape), align_corners=True)
    moved = grid_sample(stack, grid, padding_mode="border", align_corners=True)
    return x.with_data(moved.movedim(0, through + 1).contiguous())


@dataclass(frozen=True, kw_only=True)
class SliceMotion(Step):
    """From a patient who breathes to one who cannot lie still."""

    share: Share = 0.1  # of scans
    shift: Range = (0.3, 2.5)  # mm, along and across the slices
    turn: Range = (0.2, 2.5)  # degrees
    interleaved: Share = 0.7  # share of stacks taken in two or three passes

    effect = staticmethod(slice_motion)

    def draw(self, rng: Random) -> Draw:
        moves = rng.random() < self.share
        interleave = rng.choice([2, 2, 3]) if rng.random() < self.interleaved else 1
        return {
            "axis": rng.randrange(3),
            "shift": moves * rng.uniform(*self.shift),
            "turn": moves * rng.uniform(*self.turn),
            "interleave": interleave,
            "seed": seed(rng),
        }
