"""Synthetic training data. A new step is one file here and one line below."""

from .anatomy import Strip
from .bias import Bias
from .deform import Deform
from .gamma import Gamma
from .generator import Generator, Sample
from .mixture import Mixture
from .noise import Noise
from .slices import Slices
from .window import Window

ANATOMY = {"deform": Deform, "strip": Strip}
CONTRASTS = {"mixture": Mixture}
CORRUPTIONS = {"bias": Bias, "gamma": Gamma, "slices": Slices, "noise": Noise, "window": Window}

__all__ = ["ANATOMY", "CONTRASTS", "CORRUPTIONS", "Generator", "Sample"]
