"""Model files: one safetensors file each, read strictly."""

from .card import purpose, samples_of, sharpens, tomographic
from .file import (
    Model,
    channels,
    collected,
    digest,
    interchangeable,
    load_model,
    locate,
    own_folder,
    read_card,
    save_model,
    shipped,
    synthesises,
)
from .keras import convert

__all__ = [
    "Model",
    "channels",
    "collected",
    "convert",
    "digest",
    "interchangeable",
    "load_model",
    "locate",
    "own_folder",
    "purpose",
    "read_card",
    "samples_of",
    "save_model",
    "sharpens",
    "shipped",
    "synthesises",
    "tomographic",
]
