"""How bright tissue is in a real, skull-stripped T1, and what the coil added."""

from __future__ import annotations

import numpy as np

from ..ants import library


def bias_corrected(x: np.ndarray) -> np.ndarray:
    """N4 inside the brain of a skull-stripped scan, doi:10.1109/TMI.2010.2046908.

    Parameters
    ----------
    x : (I, J, K) array
        1 mm, zero outside the brain.

    Raises
    ------
    SetupError
        If antspyx is not installed.
    """
    ants = library("bias correction")
    mask = ants.from_numpy((x > 0).astype(np.float32))
    options = {"iters": [50, 50, 30, 20], "tol": 1e-6}
    corrected = ants.n4_bias_field_correction(ants.from_numpy(x), mask=mask, shrink_factor=4, convergence=options)
    return corrected.numpy() * (x > 0)


def tissue_levels(x: np.ndarray, iterations: int = 30) -> tuple[float, float, float]:
    """Brightness of fluid, grey and white matter of a bias-corrected T1: three-class k-means.

    Parameters
    ----------
    x : (N,) array
        Intensities inside the brain.
    """
    x = x[:: max(1, x.size // 200_000)]
    centres = np.percentile(x, [5, 40, 80])
    for _ in range(iterations):
        nearest = np.abs(x[:, None] - centres).argmin(1)
        centres = np.array([np.median(x[nearest == k]) for k in range(3)])
    fluid, grey, white = centres.tolist()
    return fluid, grey, white
