"""What is it worth? Networks that were trained alike but for one thing, on the same samples of heads held out.

python benchmarks/ablation.py CORPUS 'as shipped=RUN1/model.safetensors' 'without lesions=RUN2/model.safetensors' ...

Each sample is a label map that --recipe holds out, ill as `ILL` says, and painted and scanned as that recipe trains on
it. Beside the mean of each network stands its paired difference to the first, with the standard error of that
difference.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isomorph import config
from isomorph.config import Recipe
from isomorph.evaluate import mae, psnr, ssim
from isomorph.evaluate.statistics import dice
from isomorph.evaluate.table import markdown
from isomorph.labels import brain_mask
from isomorph.structures import STRUCTURES, class_map
from isomorph.synth import Generator, Pathology
from isomorph.synth.head import Head
from isomorph.train.corpus import available
from isomorph.volume import Volume
from isomorph.weights import load_model

SIZE = (128.0, 144.0, 112.0)  # mm, in the middle of the head: both hippocampi, most ventricles
MIDDLE = [0.5, 0.5, 0.45]
ILL = Pathology(carried=0.5, sclerosis=0.5, lacunes=0.3, stroke=0.3, tumour=0.2)
WHITE = 110.0
LEAST = 100  # voxels: of less nothing is said
HIPPOCAMPUS = STRUCTURES.index(17)
MEASURES = {
    "PSNR (dB)": 2, "SSIM": 3, "Dice": 3, "hippocampus, error (%)": 1, "error inside lesions": 1,
    "same place without lesions": 1,
}  # fmt: skip


class Pair(NamedTuple):
    """A head with its lesions and the same one without, else of the same random numbers."""

    sick: Tensor  # (inputs, I, J, K)
    healthy: Tensor
    target: Tensor  # (1, I, J, K), white matter at 1
    labels: Tensor
    ill: Tensor  # mostly diseased tissue


def pairs(corpus: Path, recipe: Recipe, count: int) -> Iterator[Pair]:
    """Samples that are the same in every run."""
    there = available(corpus)
    held = [there[name]() for name in sorted(recipe.held_out) if name in there]
    maps = [head for head in held if head.target is None]
    if not maps:
        raise SystemExit(f"{corpus.name} holds no label map that recipe {recipe.name} holds out; give another --recipe")
    last = config.stage_generator(recipe, recipe.training.stages[-1])
    generator = replace(last, deform=replace(last.deform, size=SIZE), pathology=ILL)
    for k in range(count):
        head = maps[k % len(maps)]
        draw = generator.draw(Random(f"ablation/{k}"))
        draw["deform"]["centre"] = MIDDLE
        yield pair(generator, head.labels, head.lesions, draw)


def pair(generator: Generator, labels: Volume, masks: Volume | None, draw: dict) -> Pair:
    """The same draw twice, the second time without what grew."""
    sick = generator.replay(labels, None, draw, masks)
    lesions = Head(labels, masks, draw).reference.lesions
    ill = lesions.data.sum(0) > 0.5 if lesions else torch.zeros(sick.labels.shape, dtype=torch.bool)
    well = draw | {"pathology": {"grown": [], "carried": None}}
    pushed = any(lesion.get("push") for lesion in draw["pathology"]["grown"])  # then the healthy head is another one
    healthy = sick if pushed else generator.replay(labels, None, well, masks)
    return Pair(sick.image.data, healthy.image.data, sick.target.data, sick.labels.data, ill & (not pushed))


@torch.inference_mode()
def scores(network: torch.nn.Module, segmenter: torch.nn.Module, sample: Pair) -> dict[str, float]:
    """Every measure of one network on one sample; NaN where there is nothing to be measured."""
    with torch.autocast("cpu", torch.bfloat16):
        image, well = (network(x[None])[:, :1].float() for x in (sample.sick, sample.healthy))
        logits = segmenter(image).float()
    brain, truth = brain_mask(sample.labels), sample.target
    found = {
        "PSNR (dB)": psnr(image[0, 0], truth[0], mask=brain[0], data_range=1.0),
        "SSIM": ssim(image[0, 0], truth[0], mask=brain[0], data_range=1.0),
    }
    number, known = (x[0, 0] for x in class_map(sample.labels[None], STRUCTURES))
    named = logits.argmax(1)[0]
    present = [k for k in range(1, len(STRUCTURES)) if (number == k).sum() > LEAST]
    found["Dice"] = float(np.mean([dice(named == k, number == k, mask=known > 0) for k in present]))
    true = (number == HIPPOCAMPUS).sum().item()
    share = logits.softmax(1)[0, HIPPOCAMPUS].sum().item()
    found["hippocampus, error (%)"] = 100 * abs(share - true) / true if true > LEAST else math.nan
    where = sample.ill & brain[0]
    for name, seen in (("error inside lesions", image), ("same place without lesions", well)):
        found[name] = WHITE * mae(seen[0, 0], truth[0], mask=where) if where.sum() > LEAST else math.nan
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of `isomorph corpus`")
    parser.add_argument("networks", nargs="+", help="name=model")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--recipe", default="default")
    options = parser.parse_args()
    named = [text.partition("=") for text in options.networks]
    given = {name: file for name, _, file in named}
    if len(given) < len(named) or not all(name and file for name, _, file in named):
        parser.error("each network is NAME=MODEL, and each NAME another")
    networks = {name: load_model(file).network for name, file in given.items()}
    segmenter = load_model("segmenter").network
    found: dict[str, list[dict[str, float]]] = {name: [] for name in networks}
    for k, sample in enumerate(pairs(options.corpus, config.load(options.recipe), options.samples)):
        for name, network in networks.items():
            found[name].append(scores(network, segmenter, sample))
        print(f"{k + 1} of {options.samples}", end="\r", flush=True)
    first = next(iter(networks))
    rows = [[name, *(cell(found[name], found[first], measure) for measure in MEASURES)] for name in networks]
    print(markdown(["network", *MEASURES], rows))


def cell(found: list[dict[str, float]], first: list[dict[str, float]], measure: str) -> str:
    """Mean, and the paired difference to the first network with its standard error."""
    digits, a, b = MEASURES[measure], *(np.array([case[measure] for case in cases]) for cases in (found, first))
    there = ~np.isnan(a)
    mean, apart = a[there].mean(), (a - b)[there]
    error = apart.std(ddof=1) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    said = f"{mean:.{digits}f}"
    return said if found is first else f"{said} ({apart.mean():+.{digits}f} ± {error:.{digits}f})"


if __name__ == "__main__":
    main()
