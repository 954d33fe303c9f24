"""Prediction: prepare, run the network, restore; and the same for many files."""

from .options import OPTIONS, Options
from .synthesise import Result, synthesise

__all__ = ["OPTIONS", "Options", "Result", "synthesise"]
