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
            value = getattr(self, field.name)
            bounds = field.type == Range or "Range" in str(field.type)  # not every pair: two weights, two names
            if bounds and isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{field.name} runs from {value[0]} to {value[1]}; give the lower bound first")

    @abstractmethod
    def draw(self, rng: Random) -> Draw:
        """Choose the parameters of one realisation of the effect."""


def seed(rng: Random) -> int:
    """Seed for the voxel-wise part of a draw."""
    return rng.getrandbits(31)


def randn(seed: int, *shape: int, like: Tensor) -> Tensor:
    """Standard normal float32 tensor that depends on nothing but `seed`, `shape` and device."""
    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=like.device)
