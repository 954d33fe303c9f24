"""New people from old: position, size and shape of the head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from ..volume import Volume
from .step import Draw, Range, Step, randn, seed

SQUARINGS = 6  # 2**-6 of a velocity of a few mm is far below a node distance: each small step is invertible
LATTICE = 4.0  # mm, on which velocities are integrated


def deform(x: Volume, *, mode: str, **draw: object) -> Volume:
    """Affine and diffeomorphic deformation onto a new 1 mm grid, one interpolation [1]_.

    Parameters
    ----------
    x : Volume
        Axes along R, A, S.
    mode : {'nearest', 'bilinear'}
        Labels want nearest.
    **draw
        Parameters of `placement`.

    References
    ----------
    .. [1] Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113
    """
    world, affine = placement(x, **draw)  # type: ignore[arg-type]
    return pull(x, world, affine, mode=mode)


def placement(
    x: Volume,
    *,
    size: list[float],
    spacing: float,
    centre: list[float],
    rotation: list[float],
    scale: list[float],
    shear: list[float],
    mirror: bool,
    velocity: float,
    nodes: float,
    seed: int,
) -> tuple[Tensor, np.ndarray]:
    """Where each voxel of the new grid comes from.

    Parameters
    ----------
    x : Volume
        The volume to be deformed; only its grid is looked at.
    size : mm, three axes
        Extent of the new grid; 0 for the whole extent of the old.
    spacing : mm
        Of the new grid, on all axes.
    centre : fraction, three axes
        Of the room that the new grid has inside the old.
    rotation : degrees, about the three axes
    scale : natural logarithm of the factor, three axes
    shear : dimensionless, three planes
    mirror : bool
        Exchange left and right.
    velocity : mm
        Standard deviation of the stationary velocity at the nodes.
    nodes : mm
        Distance between nodes.
    seed : int

    Returns
    -------
    world : (I, J, K, 3) tensor
        Scanner coordinates in `x`, in mm.
    affine : (4, 4) array
        Of the new grid.
    """
    extent = np.array(x.shape) * np.diag(x.affine)[:3]
    shape = np.array([round((s or e) / spacing) for s, e in zip(size, extent, strict=True)])
    corner = x.affine[:3, 3] - np.diag(x.affine)[:3] / 2  # outer edge of the first voxel
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = corner + np.round((extent - shape * spacing) * np.array(centre)) + spacing / 2
    middle = torch.as_tensor(affine[:3, 3] + spacing * (shape - 1) / 2, dtype=torch.float32)

    axes = [spacing * (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) for n in shape.tolist()]
    offset = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)  # mm from the middle
    matrix = torch.as_tensor(_linear(rotation, scale, shear, mirror), dtype=torch.float32)
    field = displacement(shape.tolist(), spacing=spacing, velocity=velocity, nodes=nodes, seed=seed)
    return (offset @ matrix.T + middle + field).to(x.data.device), affine


def displacement(shape: list[int], *, spacing: float, velocity: float, nodes: float, seed: int) -> Tensor:
    """Diffeomorphic displacement by scaling and squaring.

    Parameters
    ----------
    shape : voxels
    spacing, velocity, nodes, seed
        As for `placement`.

    Returns
    -------
    (I, J, K, 3) tensor, mm
    """
    grid = [max(2, 1 + round(n * spacing / nodes)) for n in shape]
    lattice = [max(2, 1 + round(n * spacing / LATTICE)) for n in shape]
    field = velocity * randn(seed, 1, 3, *grid, like=torch.empty(0))
    field = interpolate(field, lattice, mode="trilinear", align_corners=True) / 2**SQUARINGS
    identity = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, n) for n in lattice], indexing="ij"), -1)
    per_mm = torch.tensor([2 / (max(n - 1, 1) * spacing) for n in shape])  # from mm to grid_sample's -1..1
    for _ in range(SQUARINGS):
        where = identity + field[0].movedim(0, -1) * per_mm
        field = field + grid_sample(field, where.flip(-1)[None], padding_mode="border", align_corners=True)
    return interpolate(field, shape, mode="trilinear", align_corners=True)[0].movedim(0, -1)


def pull(x: Volume, world: Tensor, affine: np.ndarray, *, mode: str) -> Volume:
    """Sample a volume at scanner coordinates; zero outside.

    Parameters
    ----------
    x : Volume
    world : (I, J, K, 3) tensor, mm
    affine : (4, 4) array
        Of the grid that `world` belongs to.
    mode : {'nearest', 'bilinear'}
    """
    inverse = torch.as_tensor(np.linalg.inv(x.affine), dtype=torch.float32, device=world.device)
    voxel = world @ inverse[:3, :3].T + inverse[:3, 3]
    low, size = _reach(voxel, x.shape)  # a patch needs but a part of the head
    part = x.data[:, low[0] : low[0] + size[0], low[1] : low[1] + size[1], low[2] : low[2] + size[2]]
    voxel = voxel - torch.tensor(low, device=world.device)
    where = 2 * voxel / torch.tensor([max(n - 1, 1) for n in size], device=world.device) - 1
    data = grid_sample(part[None].float(), where.flip(-1)[None], mode=mode, align_corners=True)[0]
    return Volume(data, affine)


def _reach(voxel: Tensor, shape: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """First voxel and extent of the box that interpolation at `voxel` looks into."""
    flat = voxel.reshape(-1, 3)
    last = torch.tensor(shape, device=voxel.device) - 1
    low = torch.minimum((flat.amin(0).floor().long() - 1).clamp(min=0), last)
    high = torch.maximum(torch.minimum(flat.amax(0).ceil().long() + 1, last), low)
    return low.tolist(), (high - low + 1).tolist()


def _linear(rotation: list[float], scale: list[float], shear: list[float], mirror: bool) -> np.ndarray:
    matrix = np.diag(np.exp(scale)) @ np.array([[1, shear[0], shear[1]], [0, 1, shear[2]], [0, 0, 1]])
    for axis, degrees in enumerate(rotation):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix @ np.diag([-1.0 if mirror else 1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Deform(Step):
    """From the head as it lay in the scanner to another head, tilted, larger, of another shape."""

    size: tuple[float, float, float] = (0, 0, 0)  # mm; 0 keeps the extent of the map
    spacing: float = 1.0  # mm, of the grid to train on
    rotation: float = 15.0  # degrees, either way
    scale: float = 0.12  # natural logarithm, either way
    shear: float = 0.02
    velocity: Range = (0.0, 3.5)  # mm
    nodes: Range = (16.0, 32.0)  # mm
    mirror: float = 0.5  # share of samples with left and right exchanged

    effect = staticmethod(deform)

    def draw(self, rng: Random) -> Draw:
        def three(bound: float) -> list[float]:
            return [rng.uniform(-bound, bound) for _ in range(3)]

        return {
            "size": list(self.size),
            "spacing": self.spacing,
            "centre": [rng.random() for _ in range(3)],
            "rotation": three(self.rotation),
            "scale": three(self.scale),
            "shear": three(self.shear),
            "mirror": rng.random() < self.mirror,
            "velocity": rng.uniform(*self.velocity),
            "nodes": rng.uniform(*self.nodes),
            "seed": seed(rng),
        }
