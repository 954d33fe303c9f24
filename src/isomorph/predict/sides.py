"""Which half of the head is left? A network that names structures of both sides alike leaves that to geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, grid_sample

from ..errors import not_installed
from ..space import Shape
from ..volume import Volume

COARSE, FINE = 8, 6  # mm: where the plane is looked for, and where it is found
TILTS = (-24.0, -12.0, 0.0, 12.0, 24.0)  # degrees: where the search begins
SHIFTS = tuple(range(-48, 49, 8))  # mm, likewise, from the middle of the brain
# Mean distance from the middle of the head in mm, by left number: in 20 label maps, none off by more than 4.
AWAY = {
    2: 26.5, 3: 30.2, 4: 14.9, 7: 16.5, 8: 22.5, 10: 12.4, 11: 15.1, 12: 25.5, 13: 20.3, 14: 1.5, 15: 3.3, 16: 5.5,
    17: 24.3, 18: 23.1, 26: 9.4, 28: 10.7,
}  # fmt: skip
OFF = 4.0  # mm: a structure this far from where it should be counts little more than half
TILTED = 45.0  # degrees: a head this far off the axes of the grid is unlikely
LITTLE = 1.0  # cm3: a structure of which there is less than this counts less
BRAIN = 0.1  # share of brain from which on a voxel is looked at


@dataclass(frozen=True, eq=False)
class Plane:
    """What divides left from right.

    Parameters
    ----------
    normal : (3,) array
        Of length one, in scanner coordinates; points to the right.
    offset : mm
        Of the plane from the origin, along the normal.
    """

    normal: np.ndarray
    offset: float

    def right(self, shape: Shape, affine: np.ndarray) -> Tensor:
        """Which voxels of a grid lie on the right; (I, J, K) tensor of bool.

        Parameters
        ----------
        shape, affine
            Of the grid.
        """
        row = self.normal @ affine[:3]  # distance from the plane, as the voxel index changes
        i, j, k = (torch.arange(n) * float(row[axis]) for axis, n in enumerate(shape))
        return i[:, None, None] + j[:, None] + k > self.offset - float(row[3])


@dataclass(frozen=True, eq=False)
class _Points:
    """The soft segmentation on a coarse grid, and those of its voxels that show brain."""

    image: Tensor  # (C + 1, I, J, K): classes, then what was seen
    inverse: np.ndarray  # mm -> voxels
    places: np.ndarray  # (N, 3) mm
    values: Tensor  # (C, N)
    weights: Tensor  # (C,): how much each class counts
    paired: Tensor  # (C,) bool
    away: Tensor  # (C,) mm: how far it should be from the plane


def middle_plane(soft: Volume, seen: Tensor, numbers: Sequence[int], paired: Sequence[int]) -> Plane:
    """The plane in which a head is most like its mirror image.

    Two things count alike: how much each paired structure overlaps with its mirror image; and whether each structure
    is as far from the plane as it is in other heads, which decides where one half of the head is missing. Each
    structure counts as much as any other. What was not seen says nothing. Many planes, up to 24 degrees off the axes
    of the grid and some cm off the middle of the brain, are tried on a coarse grid; the best is then improved.

    Parameters
    ----------
    soft : Volume, (C, I, J, K)
        Share of each class in each voxel, on an isotropic grid in RAS order.
    seen : (I, J, K) tensor of bool
        Field of view.
    numbers : left numbers of the classes
    paired : indices of the classes that have two sides

    Returns
    -------
    Plane
        Through the middle of the grid where there is no brain.

    Raises
    ------
    SetupError
        E905, if SciPy is missing.
    """
    minimize = optimiser()
    known = [k for k, number in enumerate(numbers) if number in AWAY]
    points = _points(soft, seen, numbers, known, paired, COARSE)
    axes = soft.affine[:3, :3] / np.linalg.norm(soft.affine[:3, :3], axis=0)
    centre = soft.affine[:3, :3] @ ((np.array(soft.shape) - 1) / 2) + soft.affine[:3, 3]
    if not len(points.places):
        return Plane(axes[:, 0], float(axes[:, 0] @ centre))
    mass = points.values.sum(0).double().numpy()
    centre = (points.places * mass[:, None]).sum(0) / mass.sum()

    def plane(at: Sequence[float]) -> Plane:
        normal = axes @ _tilted(at[1], at[2])
        return Plane(normal, float(normal @ centre) + at[0])

    def worth(at: Sequence[float], unlikely: float = 0.2) -> float:
        return _likeness(points, plane(at)) - unlikely * (at[1] ** 2 + at[2] ** 2) / TILTED**2

    starts = [(shift, yaw, roll) for shift in SHIFTS for yaw in TILTS for roll in TILTS]
    best: Sequence[float] = max(starts, key=lambda at: worth(at, 0.5))
    for mm, step in ((COARSE, 5.0), (FINE, 2.0)):
        points = points if mm == COARSE else _points(soft, seen, numbers, known, paired, mm)
        simplex = np.vstack([best, np.asarray(best) + step * np.eye(3)])
        how = {"initial_simplex": simplex, "xatol": 0.1, "fatol": 1e-4, "maxfev": 100}
        best = minimize(lambda at: -worth(at), best, method="Nelder-Mead", options=how).x
    return plane(best)


def optimiser():
    """What finds the best plane; asked for before long work, too.

    Raises
    ------
    SetupError
        E905, if SciPy is missing.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise not_installed("segmentation", "SciPy", "segment") from None
    return minimize


def _tilted(yaw: float, roll: float) -> np.ndarray:
    """The axis to the right, turned about the superior and the anterior axis by so many degrees."""
    yaw, roll = np.radians(yaw), np.radians(roll)
    return np.array([np.cos(yaw) * np.cos(roll), np.sin(yaw) * np.cos(roll), np.sin(roll)])


def _points(
    soft: Volume, seen: Tensor, numbers: Sequence[int], known: Sequence[int], paired: Sequence[int], mm: int
) -> _Points:
    """The segmentation, averaged over blocks of some mm."""
    size = [min(max(round(mm / s), 1), n) for s, n in zip(soft.spacing, soft.shape, strict=True)]
    planes = (*(soft.data[k] for k in known), seen)
    image = torch.stack([avg_pool3d(x[None].float(), size)[0] for x in planes])
    affine = soft.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((np.array(size) - 1) / 2)
    affine[:3, :3] *= size
    brain = image[:-1].sum(0) > BRAIN
    places = brain.nonzero().numpy() @ affine[:3, :3].T + affine[:3, 3]
    values = image[:-1, brain]
    volume = values.sum(1) * (abs(np.linalg.det(affine[:3, :3])) / 1000)
    double = torch.tensor([k in paired for k in known])
    away = torch.tensor([AWAY[numbers[k]] for k in known])
    return _Points(image, np.linalg.inv(affine), places, values, volume / (volume + LITTLE), double, away)


def _likeness(points: _Points, plane: Plane) -> float:
    """From 0 to 2: overlap of the paired structures with their mirror images, and all of them as far away as usual."""
    away = points.places @ plane.normal - plane.offset
    mirrored = points.places - 2 * away[:, None] * plane.normal
    index = mirrored @ points.inverse[:3, :3].T + points.inverse[:3, 3]
    scale = 2 / np.maximum(np.array(points.image.shape[1:]) - 1, 1)
    at = torch.from_numpy((index * scale - 1)[:, ::-1].astype(np.float32))
    other = grid_sample(points.image[None], at[None, None, None], align_corners=True)[0, :, 0, 0]
    valid = (other[-1] > 0.5).float()
    whole = (points.values**2 * valid).sum(1)
    alike = (points.values * other[:-1] * valid).sum(1) / whole.clamp(min=1e-6)
    share = (points.values * valid).sum(1) / points.values.sum(1).clamp(min=1e-6)
    overlap = points.weights * points.paired * alike.clamp(max=1) * share.sqrt()
    distance = (points.values @ torch.from_numpy(np.abs(away).astype(np.float32))) / points.values.sum(1).clamp(
        min=1e-6
    )
    usual = points.weights * torch.exp(-0.5 * ((distance - points.away) / OFF) ** 2)
    total = points.weights.sum().clamp(min=1e-6), (points.weights * points.paired).sum().clamp(min=1e-6)
    return float(usual.sum() / total[0] + overlap.sum() / total[1])
