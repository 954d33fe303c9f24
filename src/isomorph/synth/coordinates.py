"""Where voxels lie, as tensors of coordinates, and what a volume holds there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ..volume import Volume


def positions(shape: tuple[int, int, int], affine: np.ndarray, device: torch.device | None = None) -> Tensor:
    """Scanner coordinates of the voxels of a grid, (3, I, J, K), mm."""
    rows = rows_of(index_of(shape, device), affine)
    return torch.stack([row.expand(shape) for row in rows])


def transformed(at: Tensor, affine: np.ndarray) -> Tensor:
    """Coordinates, (3, I, J, K), moved by a (4, 4) affine."""
    return torch.stack(rows_of(at, affine))


def index_of(shape: Sequence[int], device: torch.device | None) -> list[Tensor]:
    """Voxel indices along each axis, each of a shape that broadcasts."""
    lines = (torch.arange(n, dtype=torch.float32, device=device) for n in shape)
    return [line.reshape([-1 if k == axis else 1 for k in range(3)]) for axis, line in enumerate(lines)]


def rows_of(at: Tensor | list[Tensor], affine: np.ndarray) -> list[Tensor]:
    """The three coordinates after an affine; terms that are zero cost nothing."""
    rows = []
    for row in affine[:3].tolist():
        terms = [factor * x for factor, x in zip(row, at, strict=False) if factor]
        rows.append(sum(terms[1:], terms[0] + row[3]))
    return rows


def pull(x: Volume, source: Tensor, affine: np.ndarray, *, mode: str) -> Volume:
    """Sample a volume at scanner coordinates; zero outside.

    Parameters
    ----------
    x : Volume
    source : (3, I, J, K) tensor, mm
    affine : (4, 4) array
        Of the grid that `source` belongs to.
    mode : {'nearest', 'bilinear'}
    """
    low, size = _reach(source, x)  # a patch needs but a part of the head
    part = x.data[:, low[0] : low[0] + size[0], low[1] : low[1] + size[1], low[2] : low[2] + size[2]]
    shift = np.eye(4)
    shift[:3, 3] = low
    if 1 in size:  # `grid_sample` knows no distance along an axis of one voxel: the next one is outside
        part = pad(part, [more for n in reversed(size) for more in (0, int(n == 1))])
        size = [max(n, 2) for n in size]
    where = normalised(source, size, x.affine @ shift)
    return Volume(grid_sample(part[None].float(), where, mode=mode, align_corners=True)[0], affine)


def normalised(at: Tensor, shape: Sequence[int], affine: np.ndarray) -> Tensor:
    """Scanner coordinates as `grid_sample` wants those of a grid: from -1 to 1, last axis first."""
    scale = np.diag([2 / max(n - 1, 1) for n in shape] + [1.0])
    scale[:3, 3] = -1
    return torch.stack(rows_of(at, scale @ np.linalg.inv(affine))[::-1], -1)[None]


def _reach(source: Tensor, x: Volume) -> tuple[list[int], list[int]]:
    """First voxel and extent of a box that holds all that interpolation at `source` looks into."""
    low, high = torch.stack(torch.aminmax(source.flatten(1), dim=1)).cpu().double().numpy()
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, 3)
    inverse, last = np.linalg.inv(x.affine), np.array(x.shape) - 1
    voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
    first = np.clip(np.floor(voxels.min(0)).astype(int) - 1, 0, last)
    end = np.maximum(np.minimum(np.ceil(voxels.max(0)).astype(int) + 1, last), first)
    return first.tolist(), (end - first + 1).tolist()
