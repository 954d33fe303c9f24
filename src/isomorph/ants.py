"""The one place that asks for antspyx, and that says where a volume lies in its words."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .errors import not_installed, require_packages
from .volume import Volume

# The same registration twice gives the same: samples are drawn by this seed (`random_seed` of ants.registration is
# passed over by 0.6.3), and threads would add up mutual information in another order each time. All that uses ITK in
# this process hears it.
REPRODUCIBLE = {"ANTS_RANDOM_SEED": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from our world (right, anterior, superior) to ITK's


def require(purpose: str) -> None:
    """Find out that the package is missing before the work that needs it; its import, which takes seconds, can wait.

    Parameters
    ----------
    purpose : what needs it

    Raises
    ------
    SetupError
        If it is not installed.
    """
    require_packages(purpose, "register", "antspyx")


def library(purpose: str) -> Any:
    """The package ``ants``; asked for before long work, too. Environment variables that somebody set stay as they are.

    Parameters
    ----------
    purpose : what needs it

    Raises
    ------
    SetupError
        If it is not installed.
    """
    for name, value in REPRODUCIBLE.items():
        os.environ.setdefault(name, value)  # threads are counted once, at the first work
    try:
        import ants  # type: ignore[import-not-found]
    except ImportError:
        raise not_installed(purpose, "antspyx", "register") from None
    return ants


def to_ants(x: Volume) -> Any:
    """The same image in the same place.

    Parameters
    ----------
    x : Volume, (1, I, J, K)
        On a straight or rotated grid: ITK knows no shear.
    """
    affine = LPS @ x.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    place = {"spacing": spacing.tolist(), "origin": affine[:3, 3].tolist(), "direction": affine[:3, :3] / spacing}
    return library("registration").from_numpy(x.data[0].float().cpu().numpy(), **place)
