"""How good is the network so far, on samples of the heads held out that never change."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Recipe, Stage
from ..labels import brain_mask
from ..structures import class_map
from .corpus import Head
from .source import Batch, Samples

SHOWN = 3  # samples in the picture
DECIDES = {"synthesis": "validation_psnr", "segmentation": "validation_dice"}  # the score of a kind; more is better
Row = list[Tensor]  # (I, J, K) images, white matter at 1


def run_part(network: nn.Module, image: Tensor, stage: Stage) -> Tensor:
    """The network, or the part of it that a stage trains; only some networks have parts."""
    return network(image, stage.part) if stage.part else network(image)


def validate(
    network: nn.Module, recipe: Recipe, heads: list[Head], accelerator: Any
) -> tuple[dict[str, float], list[Row]]:
    """The means of what `score_each` gives, and its pictures; takes what that takes."""
    scores, rows = score_each(network, recipe, heads, accelerator)
    return means(scores), rows


def means(scores: list[dict[str, float]]) -> dict[str, float]:
    """Over samples."""
    return {name: sum(s[name] for s in scores) / len(scores) for name in scores[0]}


@torch.inference_mode()
def score_each(
    network: nn.Module, recipe: Recipe, heads: list[Head], accelerator: Any
) -> tuple[list[dict[str, float]], list[Row]]:
    """Scores of each sample, and pictures of a few: the inputs, what the network made of them, and the truth.

    Mean absolute error and PSNR (white matter = 1, inside the brain), or, of a segmentation, the mean Dice overlap of
    its classes. The last stage of the recipe decides what the samples look like, so that scores of different stages
    can be compared.

    Parameters
    ----------
    network : nn.Module
        On the device of `accelerator`.
    recipe : Recipe
    heads : held out
    accelerator : accelerate.Accelerator
    """
    network.eval()
    samples, (stage, _) = Samples(recipe, heads), recipe.training.at(recipe.training.steps)
    score = partial(_labels, recipe.classes) if recipe.kind == "segmentation" else _image
    found: list[dict[str, float]] = []
    rows: list[Row] = []
    for number in range(recipe.training.validate_samples):
        sample = samples.make(recipe.training.steps, -1 - number)
        with accelerator.autocast():
            image = sample.image[None].to(accelerator.device)
            prediction = run_part(network, image, stage).float().cpu()[0]
        scores, shown = score(prediction, sample)
        found.append({f"validation_{name}": value for name, value in scores.items()})
        if number < SHOWN:
            rows.append([*sample.image, *shown])
    network.train()
    return found, rows


def _image(prediction: Tensor, sample: Batch) -> tuple[dict[str, float], Row]:
    image = prediction[: len(sample.target)]
    brain = brain_mask(sample.labels)
    error = (image - sample.target)[(brain if brain.any() else brain | True).expand_as(image)]
    psnr = -10 * math.log10(max(error.square().mean().item(), 1e-12))
    uncertainty = prediction[len(sample.target) :].exp()
    return {"mae": error.abs().mean().item(), "psnr": psnr}, [*image, *uncertainty, *sample.target]


def _labels(classes: tuple[int, ...], prediction: Tensor, sample: Batch) -> tuple[dict[str, float], Row]:
    number, known = class_map(sample.labels[None], classes)
    guess, truth, there = prediction.argmax(0), number[0, 0], known[0, 0] > 0
    overlaps = []
    for k in range(1, len(classes)):
        a, b = (guess == k) & there, (truth == k) & there
        if b.any():
            overlaps.append(2 * (a & b).sum().item() / (a.sum() + b.sum()).item())
    none = float(not guess[there].any())  # where there is nothing to be found: whether nothing was
    grey = 1 / (len(classes) - 1)  # each structure its own grey
    return {"dice": sum(overlaps) / len(overlaps) if overlaps else none}, [guess * grey, truth * grey]
