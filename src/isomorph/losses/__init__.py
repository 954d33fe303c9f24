"""Losses: functions (prediction, target, weight) -> scalar, zero at the truth, the mean over a batch.

Those of `OVERLAP` compare classes: the prediction holds logits, the target the number of the class of a voxel, and the
weight is zero where the class is not known. Those of `WHOLE` want every output of the network; the others are given the
image alone.
"""

from .difference import gradient, l1, l2
from .laplace import laplace
from .overlap import balanced, cross_entropy, dice
from .ssim import ssim

LOSSES = {
    "l1": l1,
    "l2": l2,
    "gradient": gradient,
    "ssim": ssim,
    "laplace": laplace,
    "dice": dice,
    "cross_entropy": cross_entropy,
    "balanced": balanced,
}
OVERLAP = frozenset({"dice", "cross_entropy", "balanced"})
WHOLE = frozenset({"laplace"})

__all__ = ["LOSSES", "OVERLAP", "WHOLE"]
