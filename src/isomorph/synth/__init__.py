"""Synthetic training data. A new step is one file here and one line below."""

from .artefacts import ARTEFACTS
from .bias import Bias
from .channel import Channel
from .deform import Deform
from .gamma import Gamma
from .gantry import Gantry
from .generator import Generator, Sample
from .hounsfield import Hounsfield
from .measured import Measured
from .mixture import Mixture
from .motion import Motion
from .noise import Noise
from .pathology import Pathology
from .physics import LowField, Physics
from .randomised import Randomised
from .slices import Slices
from .strip import Strip
from .window import Window

ANATOMY = {"deform": Deform, "strip": Strip, "pathology": Pathology}
CONTRASTS = {
    "mixture": Mixture,
    "measured": Measured,
    "random": Randomised,
    "physics": Physics,
    "lowfield": LowField,
    "hounsfield": Hounsfield,
}
CORRUPTIONS = {"bias": Bias, "gamma": Gamma, "slices": Slices, "noise": Noise, "gantry": Gantry, "window": Window}
CORRUPTIONS |= ARTEFACTS

__all__ = ["ANATOMY", "CONTRASTS", "CORRUPTIONS", "Channel", "Generator", "Motion", "Sample"]
