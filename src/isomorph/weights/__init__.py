"""Model files: one safetensors file each, read strictly."""

from .file import Model, digest, load_model, read_card, save_model, shipped, synthesises

__all__ = ["Model", "digest", "load_model", "read_card", "save_model", "shipped", "synthesises"]
