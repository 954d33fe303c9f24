"""Receive-coil sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..profile import stretch
from ..volume import Volume
from .step import Draw, Range, Step, randn, seed


def bias_field(x: Volume, *, strength: float, spacing: float, seed: int) -> Volume:
    """Smooth multiplicative field, log-normal at each node of a coarse grid [1]_.

    Parameters
    ----------
    x : Volume
    strength : log units
        Standard deviation of the log-field at the nodes.
    spacing : mm
        Distance between nodes; larger is smoother.
    seed : int

    References
    ----------
    .. [1] Billot et al., MedIA 2023, doi:10.1016/j.media.2023.102789
    """
    extent = [n * mm for n, mm in zip(x.shape, x.spacing, strict=True)]
    nodes = [max(2, 1 + round(mm / spacing)) for mm in extent]
    log_field = strength * randn(seed, 1, *nodes, like=x.data)
    return x.with_data(x.data * stretch(log_field, x.shape).exp())


@dataclass(frozen=True, kw_only=True)
class Bias(Step):
    """From a birdcage at 1.5 T to surface coils at 7 T."""

    strength: Range = (0.0, 0.4)
    spacing: Range = (40.0, 90.0)

    effect = staticmethod(bias_field)

    def draw(self, rng: Random) -> Draw:
        return {"strength": rng.uniform(*self.strength), "spacing": rng.uniform(*self.spacing), "seed": seed(rng)}
