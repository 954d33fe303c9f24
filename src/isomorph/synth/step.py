"""Priors are dataclasses, physics is functions: the one idea behind every random step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..volume import Volume

Range = tuple[float, float]  # bounds of a uniform distribution
LogRange = tuple[float, float]  # bounds of a distribution that is uniform in the logarithm: above 0
Counts = tuple[int, int]  # bounds of a whole number, both of which occur
Share = float  # of samples, or of what the comment says: 0 to 1
Draw = dict[str, Any]  # plain numbers and words only: a draw can be written as JSON


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """A prior over the parameters of one effect; its fields are its configuration.

    ``draw`` holds all the randomness and touches no voxel. ``effect`` touches voxels
    and holds no randomness. A synthetic image is therefore a function of its draws
    alone, which are small enough to be saved next to it.
    """

    effect: ClassVar[Callable[..., Volume]]  # (Volume, **draw) -> Volume, input untouched
    resampled: ClassVar[bool] = False  # of a corruption: wants the grid of the sample, not that of the scanner

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = str(field.type)  # a type itself, where a module does not import `annotations`
            for known, word in ((Range, "Range"), (Counts, "Counts")):
                kind = kind.replace(str(known), word)
            bounded(field.name, kind, getattr(self, field.name))

    @abstractmethod
    def draw(self, rng: Random) -> Draw:
        """Choose the parameters of one realisation of the effect."""


def bounded(name: str, kind: str, value: Any) -> None:
    """Refuse bounds in the wrong order, a logarithm of nothing, and a share that is none.

    Parameters
    ----------
    name : of a field
    kind : its annotation, such as ``Range | None``
    value : what it holds

    Raises
    ------
    ValueError
        With the name and what was expected.
    """
    kinds = kind.split(" | ")
    if "Share" in kinds and not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is {value}, which is no share; give a number from 0 to 1")
    if isinstance(value, tuple) and {"Range", "LogRange", "Counts"} & set(kinds):  # not every pair: two weights, names
        if value[0] > value[1]:
            raise ValueError(f"{name} runs from {value[0]} to {value[1]}; give the lower bound first")
        if "LogRange" in kinds and value[0] <= 0:
            raise ValueError(f"{name} begins at {value[0]}, which has no logarithm; give bounds above 0")
        if "Counts" in kinds and value[0] < 0:
            raise ValueError(f"{name} begins at {value[0]}; give a number of 0 or more")


def seed(rng: Random) -> int:
    """Seed for the voxel-wise part of a draw."""
    return rng.getrandbits(31)


def randn(seed: int, *shape: int, like: Tensor) -> Tensor:
    """Standard normal float32 tensor that depends on nothing but `seed`, `shape` and device."""
    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=like.device)
