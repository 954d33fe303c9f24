"""The head moves between two scans of one exam; registration undoes it, almost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from ..volume import Volume
from .step import Draw, Step


def registered(
    x: Volume,
    *,
    rotation: list[float],
    translation: list[float],
    error_rotation: list[float],
    error_translation: list[float],
    centre: np.ndarray | None = None,
) -> Volume:
    """A scan of a head that moved, put back to where the head was, up to an error [1]_.

    No voxel changes, only the place of all. A point at x in the reference is looked for at R E x in the scan, R being
    the motion and E the error.

    Parameters
    ----------
    x : Volume
        In its own scanner coordinates.
    rotation : degrees, about the three axes
        Of the head, since the reference scan.
    translation : mm, three axes
        Of the head, after the rotation.
    error_rotation : degrees, about the three axes
    error_translation : mm, three axes
        What registration got wrong.
    centre : (3,) array, mm
        What the rotations are about; the middle of `x` if not given.

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """
    if centre is None:
        centre = x.affine[:3, :3] @ ((np.array(x.shape) - 1) / 2) + x.affine[:3, 3]
    motion, error = rigid(rotation, translation, centre), rigid(error_rotation, error_translation, centre)
    return Volume(x.data, np.linalg.inv(motion @ error) @ x.affine)


def rigid(rotation: list[float], translation: list[float], centre: np.ndarray) -> np.ndarray:
    """(4, 4) matrix in mm: rotations in degrees about the three axes through `centre`, then a translation in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = turned(rotation)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + np.array(translation)
    return matrix


def turned(rotation: list[float]) -> np.ndarray:
    """(3, 3) matrix of rotations about the first, then the second, then the third axis, in degrees."""
    matrix = np.eye(3)
    for axis, degrees in enumerate(rotation):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


@dataclass(frozen=True, kw_only=True)
class Motion(Step):
    """From a head that lies still to one that was repositioned, and from a good registration to a fair one.

    The first channel is the reference and does not move. Defaults are those of the 2021 paper.
    """

    rotation: float = 10.0  # degrees, either way, about each axis
    translation: float = 20.0  # mm, either way, along each axis
    error_rotation: float = 0.3  # degrees, standard deviation of what registration leaves
    error_translation: float = 0.3  # mm, standard deviation

    effect = staticmethod(registered)

    def draw(self, rng: Random) -> Draw:
        def either(bound: float) -> list[float]:
            return [rng.uniform(-bound, bound) for _ in range(3)]

        def normal(deviation: float) -> list[float]:
            return [rng.gauss(0, deviation) for _ in range(3)]

        return {
            "rotation": either(self.rotation),
            "translation": either(self.translation),
            "error_rotation": normal(self.error_rotation),
            "error_translation": normal(self.error_translation),
        }
