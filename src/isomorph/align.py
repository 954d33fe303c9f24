"""Two scans of one head: undo that it moved between them."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .ants import LPS, library, require, to_ants
from .volume import Volume

# Coarse to fine: the last step, on every voxel, takes twice the time of all others and moves a head by 0.1 mm.
STEPS: dict[str, Any] = {
    "aff_iterations": (1000, 500, 100),
    "aff_shrink_factors": (6, 4, 2),
    "aff_smoothing_sigmas": (3, 2, 1),
}


def able() -> None:
    """Find out before any work that the library that registers is missing; it is not imported, which takes seconds.

    Raises
    ------
    SetupError
        If antspyx is not installed.
    """
    require("alignment")


def loaded() -> Any:
    """The library that registers; what is there may be broken, so it is asked for before long work, too.

    Raises
    ------
    SetupError
        If antspyx is not installed.
    """
    return library("alignment")


def aligned(moving: Volume, fixed: Volume) -> Volume:
    """The same voxels with a corrected affine: rigid registration by mutual information; nothing is interpolated.

    Parameters
    ----------
    moving, fixed : Volume, (1, I, J, K)
        On straight or rotated grids without shear, such as synthetic T1s.

    Returns
    -------
    Volume
        `moving`, at the place in the world where it lies best on `fixed`.

    Raises
    ------
    SetupError
        If antspyx is not installed.

    References
    ----------
    .. [1] Avants et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.09.025
    """
    ants = loaded()
    with TemporaryDirectory() as folder:  # it writes what it found, and leaves it there
        how: dict[str, Any] = {"aff_metric": "mattes", "outprefix": f"{folder}/", **STEPS}
        found = ants.registration(to_ants(fixed), to_ants(moving), "Rigid", **how)
        transform = ants.read_transform(found["fwdtransforms"][0])
    turn, shift = transform.parameters[:9].reshape(3, 3), transform.parameters[9:]
    middle = transform.fixed_parameters
    there = np.eye(4)  # from where a point is in `fixed` to where it is in `moving`
    there[:3, :3], there[:3, 3] = turn, middle + shift - turn @ middle
    return Volume(moving.data, LPS @ np.linalg.inv(there) @ LPS @ moving.affine)


def moved(scan: Volume, placed: Volume) -> float:
    """How far registration moved the middle of a scan, in mm.

    Parameters
    ----------
    scan, placed : Volume
        Before and after.
    """
    middle = np.array([*(np.array(scan.shape) - 1) / 2, 1])
    return float(np.linalg.norm((placed.affine - scan.affine) @ middle))
