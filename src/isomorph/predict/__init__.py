"""Prediction: prepare, run the network, restore; and the same for many files."""

from .find import Lesions, find_lesions
from .options import OPTIONS, Options
from .segment import Segmentation, segment
from .synthesise import Result, synthesise

__all__ = ["OPTIONS", "Lesions", "Options", "Result", "Segmentation", "find_lesions", "segment", "synthesise"]
