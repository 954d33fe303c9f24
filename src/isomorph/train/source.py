"""Samples without end: sample number n is the same whenever and wherever it is made."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..config import Recipe, stage_generator
from ..errors import UsageError
from ..labels import brain_mask
from .corpus import Head

Batch = tuple[Tensor, Tensor, Tensor]  # image, target, weight
MOST = 1024  # samples in a batch: sample numbers of different steps never meet


class Samples(IterableDataset):
    """Batches of training samples, from the first step asked for to the last of the recipe.

    Parameters
    ----------
    recipe : Recipe
    heads : heads to train on
    start : step to begin at, after an interruption
    """

    def __init__(self, recipe: Recipe, heads: list[Head], start: int = 0) -> None:
        self.recipe, self.heads, self.start = recipe, heads, start
        self.shares = [_share(head.name, recipe.weights) for head in heads]

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            torch.set_num_threads(1)  # the network wants the other cores
        for step in range(self.start + first, self.recipe.training.steps, stride):  # the loader asks workers in turn
            pairs = [self.make(step, step * MOST + k) for k in range(self.recipe.training.at(step)[0].batch)]
            image, target, weight = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
            yield image, target, weight

    def make(self, step: int, number: int) -> Batch:
        """Image, target and weight, (C, I, J, K) each, of sample `number`, as the stage of `step` wants it."""
        rng = Random(f"{self.recipe.training.seed}/{number}")
        head = rng.choices(self.heads, self.shares)[0]
        generator = stage_generator(self.recipe, self.recipe.training.at(step)[0])
        image, target, labels, _ = generator(head.labels, head.target, rng.getrandbits(31))
        weight = torch.where(brain_mask(labels.data), 1.0, self.recipe.training.outside)
        return image.data, target.data, weight


def split(recipe: Recipe, heads: list[Head]) -> tuple[list[Head], list[Head]]:
    """Heads to train on, and heads held out, by person.

    Raises
    ------
    UsageError
        If a head to be held out is not there (a misspelt name would be trained on), or none is left to train on.
    """
    held = set(recipe.held_out)
    if missing := sorted(held - {head.name for head in heads}):
        raise UsageError(
            f"held_out names {missing[:3]}, which the corpus does not hold; --set held_out=[] to hold none."
        )
    trained = [h for h in heads if h.name not in held]
    if not trained:
        raise UsageError("all heads are held out; none is left to train on.")
    return trained, [h for h in heads if h.name in held]


def _share(name: str, weights: dict[str, float]) -> float:
    return next((w for prefix, w in weights.items() if name.startswith(prefix)), 1.0)
