"""isomorph: any clinical brain scan in, a 1 mm T1 MP-RAGE out. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .io import check, load, read, save
    from .predict import Result, segment, synthesise
    from .synth import Generator, Sample
    from .volume import Volume
    from .weights import load_model

    __version__: str

__all__ = [
    "Generator",
    "Result",
    "Sample",
    "Volume",
    "__version__",
    "check",
    "load",
    "load_model",
    "read",
    "save",
    "segment",
    "synthesise",
]

_ROOM = {
    "Generator": "synth",
    "Result": "predict",
    "Sample": "synth",
    "Volume": "volume",
    "check": "io",
    "load": "io",
    "load_model": "weights",
    "read": "io",
    "save": "io",
    "segment": "predict",
    "synthesise": "predict",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("isomorph")
    if name not in _ROOM:
        raise AttributeError(f"module 'isomorph' has no attribute {name!r}")
    return getattr(import_module(f".{_ROOM[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
