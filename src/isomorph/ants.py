"""The one place that asks for antspyx, and that says where a volume lies in its words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import SetupError
from .volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from our world (right, anterior, superior) to ITK's


def library(purpose: str) -> Any:
    """The package ``ants``; asked for before long work, too.

    Parameters
    ----------
    purpose : what needs it

    Raises
    ------
    SetupError
        If it is not installed.
    """
    try:
        import ants  # type: ignore[import-not-found]
    except ImportError:
        raise SetupError(f"E905 {purpose} needs antspyx; type: pip install 'isomorph[register]'") from None
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
