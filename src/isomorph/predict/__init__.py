"""Prediction: prepare, run the network, restore; and the same for many files."""

from .options import OPTIONS, Options
from .segment import Segmentation, segment
from .synthesise import Result, synthesise

__all__ = ["OPTIONS", "Options", "Result", "Segmentation", "segment", "synthesise"]
