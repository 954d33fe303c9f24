"""Heads whose anatomy is known: label maps that no network was trained on, deformed, ill, painted and scanned."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch

from isomorph.evaluate.atrophy import shrunken
from isomorph.space import window
from isomorph.synth import Bias, Deform, Gantry, Hounsfield, LowField, Mixture, Pathology, Strip
from isomorph.synth.contrasts import TARGET, target_means
from isomorph.synth.generator import SILENT
from isomorph.synth.head import Head
from isomorph.synth.mixture import paint
from isomorph.synth.slices import FULL_WIDTH, thick_slices
from isomorph.synth.step import Step, seed
from isomorph.train.corpus import available
from isomorph.volume import Volume

from .sheet import WHITE

MAPS = ("training_seg_18", "training_seg_19", "training_seg_20")
# As large as a brain of any of these maps, and a multiple of what networks want: air is not predicted.
DEFORM = Deform(size=(160.0, 192.0, 160.0), rotation=8.0, scale=0.07, velocity=(1.5, 3.0), nodes=(16.0, 28.0))
MIDDLE = [0.5, 0.5, 0.5]
STRIP = Strip(stripped=0.0)  # whole heads
HEALTHY = Pathology()
ILL = {
    "sclerosis": Pathology(sclerosis=1.0, sclerosis_load=(3.0, 20.0)),
    "stroke": Pathology(stroke=1.0, stroke_size=(25.0, 50.0)),
    "tumour": Pathology(tumour=1.0, tumour_size=(15.0, 35.0)),
}
BIAS = Bias(strength=(0.0, 0.2))
NOISE = (0.005, 0.02)  # of the brightest tissue
NOISE_FIELD = (0.01, 0.05)  # at 64 mT, as in the recipe `hyperfine`
THICKEST = 5.0  # mm: beyond this spacing there are gaps between the slices
FIELD = [1.6, 1.6, 5.0]  # mm, of the portable scanner


def _table(name: str, enhanced: float = 0.0) -> Mixture:
    """Around one table of brightness, as scans of one protocol differ."""
    around = {"tables": (name,), "weights": (1.0,), "enhanced": enhanced}
    return Mixture(random=0.0, spread=(0.02, 0.05), surface=(0.8, 1.25), texture=(0.01, 0.03), **around)


CONTRASTS: dict[str, Step] = {name: _table(name) for name in ("T1", "T2", "FLAIR", "PD")}
CONTRASTS |= {"CT": Hounsfield(enhanced=0.0), "64 mT": LowField()}
CONTRASTS |= {"T1 SE": _table("T1 SE", enhanced=0.5)}  # the last: spacing and axis of a scan go by the place here


PORTABLE: dict[str, Step] = {  # of one session; not in the table, whose 64 mT is any of them
    f"64 mT {name}": LowField(sequences=(f"swoop_{name.lower()}",), weights=(1.0,)) for name in ("T1", "T2")
}


class Painted(NamedTuple):
    """A head, and what should come out of each of its scans."""

    name: str
    labels: Volume
    lesions: Volume | None  # soft maps of diseased tissue
    target: Volume  # healthy T1, white matter at 110


@lru_cache(maxsize=len(MAPS))
def label_map(data: Path, name: str) -> Volume:
    return available(data)[name]().labels


@lru_cache(maxsize=2)
def head(data: Path, purpose: str, k: int, *, disease: str = "", lost: float = 0.0) -> Painted:
    """Head k of a purpose: always the same, and like no other."""
    rng, name = Random(f"{purpose}/{k}"), MAPS[k % len(MAPS)]
    labels = label_map(data, name)
    labels = shrunken(labels, lost) if lost else labels
    draws = {"deform": DEFORM.draw(rng) | {"centre": MIDDLE}, "strip": STRIP.draw(rng)}
    found = Head(labels, None, draws | {"pathology": ILL.get(disease, HEALTHY).draw(rng)}).reference
    return Painted(name, found.labels, found.lesions, t1_of(found.labels))


def t1_of(labels: Volume, lesions: Volume | None = None) -> Volume:
    """As training paints its target; or what it would be with lesions."""
    y = paint(labels, means=target_means(TARGET, ill=lesions is not None), stds=SILENT, seed=0, lesions=lesions)
    return y.with_data(y.data * WHITE)


def scan(who: Painted, contrast: str, axis: int, spacing: float, rng: Random, *, ill: bool = True) -> Volume:
    """Paint a head and acquire it, on the grid of the scanner; Hounsfield units, clipped to soft tissue, of a CT.

    The same numbers are drawn whether or not the lesions are there. The slices begin at the edge of the head's grid, so
    that the 1 mm grid of prediction is that of the truth and nothing has to be interpolated to be compared.
    """
    step = (CONTRASTS | PORTABLE)[contrast]
    image = step.effect(who.labels, **step.draw(rng), lesions=who.lesions if ill else None)
    apart = [1.0, 1.0, 1.0]
    apart[axis] = spacing
    apart = list(FIELD) if isinstance(step, LowField) else apart
    how = {
        "spacing": apart,
        "thickness": [min(mm, THICKEST) for mm in apart],
        "alpha": FULL_WIDTH,
        "offset": [(mm / 2 - 0.5) / mm for mm in apart],
    }
    if contrast == "CT":
        gantry = Gantry(noise=(2.0, 4.0)).draw(rng)
        image = Gantry.effect(image, **gantry | how)
    else:
        image = BIAS.effect(image, **BIAS.draw(rng))
        noise = NOISE_FIELD if isinstance(step, LowField) else NOISE
        image = thick_slices(image, **how, sigma=rng.uniform(*noise), seed=seed(rng))
    whole = [min(n, int(m / mm + 1e-6)) for n, m, mm in zip(image.shape, who.labels.shape, apart, strict=True)]
    return window(image, [0, 0, 0], whole)


def lesion_mask(who: Painted) -> torch.Tensor:
    """Voxels of which more than half is ill."""
    assert who.lesions
    return who.lesions.data.sum(0) > 0.5
