"""How well do measurements of many heads say what is true of them? Plain functions of lists of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

Numbers = Sequence[float] | np.ndarray


def auroc(ill: Numbers, healthy: Numbers) -> float:
    """How often an ill head measures less than a healthy one: the area under the ROC curve [1]_.

    Parameters
    ----------
    ill, healthy : sequences of numbers, any unit
        What was measured, such as volumes that a disease makes smaller; ties count half.

    Returns
    -------
    float
        1 if every ill head measures less than every healthy one, 0.5 if the measurement knows nothing; NaN if one is
        NaN.

    Raises
    ------
    ValueError
        If a group is empty.

    References
    ----------
    .. [1] Hanley & McNeil, Radiology 1982, doi:10.1148/radiology.143.1.7063747
    """
    a, b = np.asarray(ill, dtype=float)[:, None], np.asarray(healthy, dtype=float)[None]
    if not a.size or not b.size:
        raise ValueError(f"AUROC compares two groups, and they have {a.size} and {b.size} heads; measure more.")
    if np.isnan(a).any() or np.isnan(b).any():
        return math.nan  # it is neither less nor more, and would count as more
    return float(((a < b) + 0.5 * (a == b)).mean())


def correlation(measured: Numbers, truth: Numbers) -> float:
    """Pearson's, -1 to 1; NaN if there are less than three heads or one of both is constant.

    Parameters
    ----------
    measured, truth : sequences of numbers, one for each head

    Raises
    ------
    ValueError
        If they are not equally many.
    """
    a, b = _paired(measured, truth)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def relative_error(measured: Numbers, truth: Numbers) -> float:
    """Mean of the absolute difference over the truth; 0.05 is five percent.

    Parameters
    ----------
    measured, truth : sequences of numbers, one for each head, above 0

    Raises
    ------
    ValueError
        If they are not equally many, or there are none.
    """
    a, b = _paired(measured, truth)
    return float(np.mean(np.abs(a - b) / b))


def variation(values: Numbers) -> float:
    """Coefficient of variation of repeated measurements: standard deviation (n - 1) over the mean.

    Parameters
    ----------
    values : sequence of two numbers or more, above 0

    Raises
    ------
    ValueError
        If there are less than two.
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2:
        raise ValueError(f"A variation needs two measurements or more, got {x.size}.")
    return float(x.std(ddof=1) / x.mean())


def dice(prediction: Tensor, reference: Tensor, *, mask: Tensor | None = None) -> float:
    """Overlap of two structures, 0 to 1: twice what they share over what they hold together [1]_.

    Parameters
    ----------
    prediction, reference : (I, J, K) tensors of bool
    mask : (I, J, K) tensor of bool, optional
        Voxels that count; all if not given.

    Returns
    -------
    float
        NaN if both are empty.

    References
    ----------
    .. [1] Dice, Ecology 1945, doi:10.2307/1932409
    """
    a, b = (x if mask is None else x & mask for x in (prediction, reference))
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else math.nan


def _paired(measured: Numbers, truth: Numbers) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(measured, dtype=float), np.asarray(truth, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError(f"Give as many measurements as there are truths, one or more; got {a.shape} and {b.shape}.")
    return a, b
