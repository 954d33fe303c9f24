"""The last step before the network: intensities normalised as prediction normalises them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from ..intensity import normalise, robust_range, sampled
from ..volume import Volume
from .step import Draw, LogRange, Step


def window(x: Volume, *, gain: float, like: Volume | None = None) -> Volume:
    """Air to 0 and bright tissue to 1, up to a gain [1]_.

    Parameters
    ----------
    x : Volume
        Air at zero.
    gain : factor
        Applied after normalisation: a part of a head is not as bright as the whole.
    like : Volume, optional
        The image whose bright tissue counts; `x` itself if not given.

    References
    ----------
    .. [1] Billot et al., MedIA 2023, doi:10.1016/j.media.2023.102789
    """
    return x.with_data(normalise(x.data, 0.0, robust_range(sampled((like or x).data))[1] / gain))


@dataclass(frozen=True, kw_only=True)
class Window(Step):
    """From a scan whose fat outshines the brain to one without any."""

    gain: LogRange = (0.55, 1.3)

    effect = staticmethod(window)
    resampled = True

    def draw(self, rng: Random) -> Draw:
        return {"gain": math.exp(rng.uniform(*(math.log(g) for g in self.gain)))}
