"""Model files: one safetensors file each, read strictly."""

from .file import Model, collected, digest, load_model, own_folder, read_card, save_model, shipped, synthesises
from .keras import convert

__all__ = [
    "Model",
    "collected",
    "convert",
    "digest",
    "load_model",
    "own_folder",
    "read_card",
    "save_model",
    "shipped",
    "synthesises",
]
