"""New people from old: position, size and shape of the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..profile import stretch
from ..volume import Volume
from .coordinates import index_of, normalised, pull, rows_of, transformed
from .motion import turned
from .step import Draw, Range, Share, Step, randn, seed

SQUARINGS = 6  # 2**-6 of a velocity of a few mm is far below a node distance: each small step is invertible
LATTICE = 4.0  # mm, on which velocities are integrated
BORDER: dict[str, Any] = {"padding_mode": "border", "align_corners": True}


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
    place = placement(x, **draw)  # type: ignore[arg-type]
    return pull(x, place.source(), place.affine, mode=mode)


@dataclass(frozen=True, eq=False)
class Placement:
    """A new head: the grid it is seen on, and where each of its points comes from.

    Parameters
    ----------
    shape, affine
        Of the grid of the sample.
    matrix : (3, 3) array
        From mm off the middle of the new head to mm off the middle in the map.
    field : (1, 3, N, N, N) tensor, mm
        Displacement in the map, on a lattice that runs from the first to the last voxel centre of the grid.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    matrix: np.ndarray
    field: Tensor

    @property
    def middle(self) -> np.ndarray:
        """Of the grid, in mm."""
        return self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]

    def source(self, at: Tensor | None = None) -> Tensor:
        """Scanner coordinates in the map.

        Parameters
        ----------
        at : (3, I, J, K) tensor, optional
            Scanner coordinates in the new head, mm; by default the voxels of the grid.

        Returns
        -------
        (3, I, J, K) tensor, mm
        """
        move = np.eye(4)
        move[:3, :3], move[:3, 3] = self.matrix, self.middle - self.matrix @ self.middle
        if at is None:  # along the axes of the grid all of it is cheap
            field = stretch(self.field[0], self.shape)
            for row, out in zip(
                rows_of(index_of(self.shape, self.field.device), move @ self.affine), field, strict=True
            ):
                out += row
            return field
        field = grid_sample(self.field, normalised(at, self.shape, self.affine), **BORDER)[0]
        return field.add_(transformed(at, move))

    def pushed(self, push: Tensor) -> Placement:
        """The same head after something in it has pushed.

        Parameters
        ----------
        push : (1, 3, N, N, N) tensor, mm
            From where each point of the new head is to where its tissue was, on the lattice of `field`.
        """
        lines = [torch.linspace(-1, 1, n, device=push.device) for n in push.shape[2:]]
        extent = (np.array(self.shape) - 1) * np.diag(self.affine)[:3]
        per_mm = torch.as_tensor(2 / np.maximum(extent, 1e-6), dtype=torch.float32, device=push.device)
        where = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) + push[0].movedim(0, -1) * per_mm
        field = grid_sample(self.field, where.flip(-1)[None], **BORDER)
        return replace(self, field=field + _carried(self.matrix, push))


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
) -> Placement:
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
    """
    extent = np.array(x.shape) * np.diag(x.affine)[:3]
    shape = [round((s or e) / spacing) for s, e in zip(size, extent, strict=True)]
    corner = x.affine[:3, 3] - np.diag(x.affine)[:3] / 2  # outer edge of the first voxel
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = corner + np.round((extent - np.array(shape) * spacing) * np.array(centre)) + spacing / 2
    matrix = _linear(rotation, scale, shear, mirror)
    field = integrated(shape, spacing=spacing, velocity=velocity, nodes=nodes, seed=seed, device=x.data.device)
    # First the shape, then the pose: added to a mirror instead of carried through it, a displacement can fold the head.
    return Placement((shape[0], shape[1], shape[2]), affine, matrix, _carried(matrix, field))


def integrated(
    shape: list[int], *, spacing: float, velocity: float, nodes: float, seed: int, device: torch.device | None = None
) -> Tensor:
    """Diffeomorphic displacement in mm, (1, 3, N, N, N), on a lattice of some mm.

    The lattice runs from the first to the last voxel centre of the grid; arguments are those of `placement`.
    """
    grid = [max(2, 1 + round(n * spacing / nodes)) for n in shape]
    lattice = [max(2, 1 + round(n * spacing / LATTICE)) for n in shape]
    field = velocity * randn(seed, 1, 3, *grid, like=torch.empty(0)).to(device)
    return exponential(stretch(field[0], lattice)[None], shape, [spacing] * 3)


def exponential(velocity: Tensor, shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Displacement of a stationary velocity by scaling and squaring, both in mm on a lattice, (1, 3, N, N, N).

    Parameters
    ----------
    velocity : (1, 3, N, N, N) tensor, mm
        On a lattice that runs from the first to the last voxel centre of a grid.
    shape : voxels, of that grid
    spacing : mm, of that grid
    """
    device = velocity.device
    lines = [torch.linspace(-1, 1, n, device=device) for n in velocity.shape[2:]]
    identity = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
    per_mm = [2 / (max(n - 1, 1) * mm) for n, mm in zip(shape, spacing, strict=True)]  # to grid_sample's -1..1
    field, scale = velocity / 2**SQUARINGS, torch.tensor(per_mm, device=device)
    for _ in range(SQUARINGS):
        where = identity + field[0].movedim(0, -1) * scale
        field = field + grid_sample(field, where.flip(-1)[None], **BORDER)
    return field


def _carried(matrix: np.ndarray, field: Tensor) -> Tensor:
    """A displacement in the new head, as one in the map."""
    linear = torch.as_tensor(matrix, dtype=torch.float32, device=field.device)
    return torch.einsum("ij,bjxyz->bixyz", linear, field)


def _linear(rotation: list[float], scale: list[float], shear: list[float], mirror: bool) -> np.ndarray:
    matrix = np.diag(np.exp(scale)) @ np.array([[1, shear[0], shear[1]], [0, 1, shear[2]], [0, 0, 1]])
    return turned(rotation) @ matrix @ np.diag([-1.0 if mirror else 1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Deform(Step):
    """From the head as it lay in the scanner to another head, tilted, larger, of another shape."""

    size: tuple[float, float, float] = (0, 0, 0)  # mm; 0 keeps the extent of the map
    spacing: float = 1.0  # mm, of the grid to train on
    rotation: float = 15.0  # degrees, either way
    scale: float | Range = 0.12  # natural logarithm, either way, or from and to
    shear: float = 0.02
    velocity: Range = (0.0, 3.5)  # mm
    nodes: Range = (16.0, 32.0)  # mm
    mirror: Share = 0.5  # share of samples with left and right exchanged

    effect = staticmethod(deform)

    def draw(self, rng: Random) -> Draw:
        def three(bound: float | Range) -> list[float]:
            low, high = bound if isinstance(bound, tuple) else (-bound, bound)
            return [rng.uniform(low, high) for _ in range(3)]

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
