"""Model files: one safetensors file each, read strictly."""

from .file import Model, load_model, read_card, save_model, shipped

__all__ = ["Model", "load_model", "read_card", "save_model", "shipped"]
