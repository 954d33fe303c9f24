"""Samples without end: sample number n is the same whenever and wherever it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..config import Recipe, stage_generator
from ..errors import UsageError
from ..labels import SHOWN, brain_mask
from ..structures import anatomical
from .check import MOST
from .corpus import Head

PROCESSOR = torch.device("cpu")
NAMED = 8  # heads that a message lists


class Batch(NamedTuple):
    """What a step learns from; (N, C, I, J, K) each, or a single sample without N."""

    image: Tensor  # scans, then their reliability maps if any
    target: Tensor  # white matter at 1
    weight: Tensor  # 1 in the brain
    labels: Tensor  # numbers of `isomorph.labels`


class Samples(IterableDataset):
    """Batches of training samples, from the first step asked for to the last of the recipe; without end by minutes.

    Parameters
    ----------
    recipe : Recipe
    heads : heads to train on
    start : step to begin at, after an interruption
    rank, processes : which part of each batch to make, and of how many; the numbers of samples do not depend on it
    device : to make them on
    """

    def __init__(
        self,
        recipe: Recipe,
        heads: list[Head],
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
        *,
        device: torch.device = PROCESSOR,
    ) -> None:
        self.recipe, self.heads, self.start = recipe, heads, start
        self.rank, self.processes, self.device = rank, processes, device
        self.shares = [share(head.name, recipe.weights) for head in heads]
        self.generators = [(stage, stage_generator(recipe, stage)) for stage in recipe.training.stages]

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            torch.set_num_threads(1)  # the network wants the other cores
        settings, begin = self.recipe.training, self.start + first
        for step in count(begin, stride) if settings.minutes else range(begin, settings.steps, stride):
            # the loader asks workers in turn
            batch = self.recipe.training.at(step)[0].batch // self.processes
            samples = [self.make(step, step * MOST + self.rank * batch + k) for k in range(batch)]
            yield Batch(*(torch.stack(tensors) for tensors in zip(*samples, strict=True)))

    def make(self, step: int, number: int) -> Batch:
        """Sample `number`, as the stage of `step` wants it; those of the validation are below 0."""
        seed = self.recipe.training.seed if number >= 0 else 0  # scores of runs with other seeds can be compared
        rng = Random(f"{seed}/{number}")
        head = rng.choices(self.heads, self.shares)[0]
        wanted, _ = self.recipe.training.at(step)
        generator = next(generator for stage, generator in self.generators if stage is wanted)
        seed, parts = rng.getrandbits(31), (head.labels, head.target, head.lesions)
        there, real, lesions = (part and part.with_data(part.data.to(self.device)) for part in parts)
        assert there
        image, target, labels, _ = generator(there, real, seed, lesions)
        settings = self.recipe.training
        weight = torch.where(brain_mask(labels.data), 1.0, settings.outside)
        shown = torch.isin(labels.data, torch.tensor(SHOWN, device=labels.data.device))
        weight = weight.masked_fill(shown, settings.lesions)
        return Batch(image.data, target.data, weight, labels.data.to(torch.int16))


def split(
    recipe: Recipe, heads: list[Head], *, report: Callable[[str], None] = lambda _: None
) -> tuple[list[Head], list[Head]]:
    """Heads to train on, and heads held out, by person.

    Heads that the recipe never draws are left out; so are scans that wear the head of someone not to be trained on,
    which `report` is told in one line, and, for a segmentation, those whose maps name no structures.

    Raises
    ------
    UsageError
        If a head to be held out is not there (a misspelt name would be trained on), another of the same person is to
        be trained on, or none is left to train on.
    """
    held = set(recipe.held_out)
    spell(recipe, [head.name for head in heads])
    fit = [head for head in heads if share(head.name, recipe.weights) > 0]
    if recipe.kind == "segmentation":
        fit = [head for head in fit if anatomical(head.labels.data) > 0]
    rest = [head for head in fit if head.name not in held]
    trained = [head for head in rest if not borrowed(recipe, head)]
    worn = f"{len(rest) - len(trained)} scans wear the head of a map that is held out or never drawn"
    if not trained:
        why = f"{worn}; prepare them for this recipe" if rest else "see held_out and weights of the recipe"
        raise UsageError(f"none of {len(heads)} heads is left to train on; {why}.")
    if len(trained) < len(rest):
        report(f"{worn}, and are passed over")
    return trained, [head for head in fit if head.name in held]


def spell(recipe: Recipe, names: Collection[str]) -> None:
    """Refuse a recipe that holds out heads that are not there, or one of a person but not the others.

    A misspelt name would be trained on, and so would who is held out.

    Parameters
    ----------
    recipe : Recipe
    names : of all heads

    Raises
    ------
    UsageError
    """
    if missing := sorted(set(recipe.held_out) - set(names)):
        there = sorted(names)
        some = ", ".join(there[:NAMED]) + (f" and {len(there) - NAMED} more" if len(there) > NAMED else "")
        said = f"held_out names {missing[:3]}, which the corpus does not hold"
        raise UsageError(f"{said}; choose from {some}, or --set held_out=[] to hold none.")
    people = {person(name) for name in recipe.held_out}
    if known := sorted(name for name in names if person(name) in people and not spared(recipe, name)):
        raise UsageError(f"{known[:3]} are of people whom held_out names otherwise; name all heads of a person there.")


def person(name: str) -> str:
    """Who a head is of: sub-07 of sub-07, sub-07_T1w and sub-07_ses-2_T1w (BIDS); any other name is a person's own."""
    return name.partition("_")[0] if name.startswith("sub-") else name


def spared(recipe: Recipe, name: str) -> bool:
    """Is this a person whom the recipe trains on in no way: held out, or never drawn?"""
    return name in recipe.held_out or share(name, recipe.weights) <= 0


def borrowed(recipe: Recipe, head: Head) -> bool:
    """Does a scan wear the head of such a person? A lent skull is a person's, too."""
    return bool(head.lender) and spared(recipe, head.lender)


def share(name: str, weights: dict[str, float]) -> float:
    """How often a head is drawn: the first prefix that fits counts, and 1 where none does."""
    return next((w for prefix, w in weights.items() if name.startswith(prefix)), 1.0)
