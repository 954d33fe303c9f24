"""How well are lesions found? On heads held out, painted, whose lesions are known; and in a scan with a drawn mask.

python benchmarks/lesions.py HEADS [--model FILE] [--scan SCAN --mask MASK] [--seeds 1] [--no-flip]

HEADS is a folder of prepared heads (`isomorph corpus`) with carried lesions. Each head held out is drawn with lesions
that fixed seeds choose, painted as FLAIR, T2 and T1, and acquired in axial slices of 1, 3 and 5 mm. Dice over voxels
whose truth is known, where there is a lesion or one was found; correlation of the volumes over heads; pieces of 10 mm3
and more: of the true ones those that were touched, and those that were found where there is none.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from isomorph import config, io
from isomorph.evaluate.statistics import correlation, dice
from isomorph.predict import find_lesions
from isomorph.predict.lesions import on_grid
from isomorph.space import resample
from isomorph.structures import class_map
from isomorph.synth import Generator, Window
from isomorph.synth.slices import FULL_WIDTH, Slices, thick_slices
from isomorph.train.corpus import load
from isomorph.volume import Volume
from isomorph.weights import load_model

CONTRASTS, SPACINGS = ("FLAIR", "T2", "T1"), (1.0, 3.0, 5.0)
LEAST = 10  # mm3: what is smaller is no piece
NOISE = 0.02  # of the brightest
Row = dict[str, float]


def painted(recipe: config.Recipe, contrast: str) -> Generator:
    """The generator of the recipe for whole heads in one contrast, as the scanner has it before slices."""
    generator = recipe.generator
    (channel,) = generator.channels
    mixture = replace(channel.contrast, random=0.0, tables=(contrast,), weights=(1.0,))  # pyright: ignore
    steps = tuple(step for step in channel.corruptions if not isinstance(step, Slices | Window))
    whole = replace(generator.deform, size=(0, 0, 0), mirror=0.0)
    strip = replace(generator.strip, stripped=0.0)
    channel = replace(channel, contrast=mixture, corruptions=steps)
    return replace(generator, deform=whole, strip=strip, channels=(channel,), reliability=False)


def sliced(image: Volume, spacing: float) -> Volume:
    """Axial slices of that distance and thickness."""
    mm = [1.0, 1.0, spacing]
    how: dict[str, Any] = {"alpha": FULL_WIDTH, "offset": [0.0, 0.0, 0.5], "sigma": NOISE, "seed": 1}
    return thick_slices(image, spacing=mm, thickness=mm, **how)


def scored(found: np.ndarray, truth: np.ndarray, known: np.ndarray) -> Row:
    """What one head gives; pieces of the truth and of what was found, voxels that share a corner being one piece."""
    found, truth = found & known, truth & known
    each, all_ = pieces(truth), pieces(found)
    hit = sum(bool(found[piece].any()) for piece in each)
    false = sum(not truth[piece].any() for piece in all_)
    overlap = dice(torch.from_numpy(found), torch.from_numpy(truth))
    ml = truth.sum() / 1000, found.sum() / 1000
    return {"dice": overlap, "true": ml[0], "found": ml[1], "hit": hit, "lesions": len(each), "false": false}


def pieces(mask: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Indices of the voxels of each piece."""
    numbered, count = ndimage.label(mask, np.ones((3, 3, 3)))  # pyright: ignore
    order = np.argsort(numbered, axis=None, kind="stable")
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    parts = np.split(order, np.cumsum(sizes)[:-1])[1:]
    return [np.unravel_index(part, mask.shape) for part in parts if len(part) >= LEAST]


def line(rows: list[Row]) -> str:
    overlap, true, found, hit, lesions, false = (np.array([row[key] for row in rows]) for key in rows[0])
    volumes = f"{true.mean():7.1f} {found.mean():7.1f} {correlation(found, true):7.3f}"
    least = f"{np.nanmean(overlap):6.2f} {np.nanmin(overlap):6.2f}"
    return f"{least} {volumes} {hit.sum() / lesions.sum():7.2f} {false.mean():7.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--model", default="lesions")
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--no-flip", action="store_true")
    given = parser.parse_args()
    recipe, model = config.load("lesions"), load_model(given.model)
    held = [head for head in load(given.heads) if head.name in recipe.held_out]
    if given.scan:
        scan, drawn = io.read(given.scan).volume, io.load(given.mask, kind="image")
        lesions = find_lesions(scan, model, flip=not given.no_flip)
        truth = on_grid(drawn, lesions.mask) > 0.5
        row = scored(lesions.mask.data[0].numpy() > 0, truth.numpy(), np.ones(truth.shape, dtype=bool))
        print(given.scan.name, {key: round(value, 2) for key, value in row.items()}, flush=True)
    print(f"{'':12s}{'Dice':>6s} {'least':>6s} {'ml':>7s} {'found':>7s} {'r':>7s} {'hit':>7s} {'false':>7s}")
    for contrast in CONTRASTS:
        generator = painted(recipe, contrast)
        samples = [generator(h.labels, None, seed, h.lesions) for h in held for seed in range(given.seeds)]
        for spacing in SPACINGS:
            rows = []
            for sample in samples:
                lesions = find_lesions(sliced(sample.image, spacing), model, flip=not given.no_flip)
                found = resample(lesions.mask.with_data(lesions.mask.data.float()), *grid(sample.labels)).data[0] > 0.5
                truth, known = (x[0, 0] > 0 for x in class_map(sample.labels.data[None], recipe.classes))
                rows.append(scored(found.numpy(), truth.numpy(), known.numpy()))
            print(f"{contrast:6s}{spacing:3.0f} mm{line(rows)}", flush=True)


def grid(x: Volume) -> tuple[tuple[int, int, int], np.ndarray]:
    return x.shape, x.affine


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
