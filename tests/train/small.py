"""Heads and recipes that train in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from isomorph import config
from isomorph.config import Recipe
from isomorph.labels import CLUSTER
from isomorph.train.corpus import Head
from isomorph.train.loop import train
from isomorph.volume import Volume

SIDE = 32  # mm
NETWORKS: dict[str, dict[str, Any]] = {
    "cascade": {"sharp": [4], "coarse": [4, 8], "fine": [4]},
    "compact": {"features": [4, 8], "tones": 2, "detail": 2},
    "parcels": {"features": [4, 8]},
    "unet": {"features": 2, "levels": 3},
}


def head(name: str, *, real: bool = False, shift: int = 0) -> Head:
    """Nested boxes: skin, fluid, cortex, white matter, a ventricle, a thalamus; with a target, levels of brightness."""
    labels = torch.zeros(1, 40, 42, 44)
    for edge, number in ((3, 511), (6, 24), (8, 3), (12, 2), (17, 4)):
        labels[:, edge:-edge, edge:-edge, edge:-edge] = number
    labels[:, 13:16, 13:20, 13:20], labels[:, 24:27, 13:20, 13:20] = 10, 49
    labels = labels.roll(shift, 1)
    if not real:
        return Head(name, Volume(labels, np.eye(4)), None)
    level = torch.zeros(800)
    level[[2, 3, 4, 10, 49]] = torch.tensor([1.0, 0.6, 0.25, 0.8, 0.8])
    target = level[labels.long()]
    clusters = torch.where(target > 0, CLUSTER + (target / 0.05).round(), 0.0)
    return Head(name, Volume(clusters, np.eye(4)), Volume(target, np.eye(4)))


def heads() -> list[Head]:
    """Two label maps and a real scan to train on, one map to validate with."""
    return [head("a"), head("b", shift=2), head("real", real=True), head("held", shift=-2)]


def small(recipe: Recipe | str, *changes: str, **training: Any) -> Recipe:
    """A recipe made small: a few steps of each stage, a tiny network of the same kind, small samples.

    Parameters
    ----------
    recipe : Recipe or name
    *changes : as for `config.load`
    **training : entries of the section training
    """
    table = config.to_dict(config.load(recipe, changes) if isinstance(recipe, str) else recipe)
    channels = {k: v for k, v in table["network"]["arguments"].items() if k in ("inputs", "outputs", "scans")}
    table["network"]["arguments"] = NETWORKS[table["network"]["kind"]] | channels
    table |= {"held_out": ["held"], "weights": {}, "start": ""}
    table["generator"]["deform"]["size"] = [SIDE] * 3
    steps = 1 if len(table["training"]["stages"]) > 1 else 2
    for stage in table["training"]["stages"]:
        stage["part"] = stage["part"] if table["network"]["kind"] == "cascade" else ""
        kept = [change for change in stage["set"] if not change.startswith("deform.size")]
        stage |= {"steps": steps, "batch": min(stage["batch"], 2), "set": [*kept, f"deform.size={[SIDE] * 3}"]}
    table["training"] |= {"precision": "fp32", "log_every": 1, "validate_samples": 2} | training
    return config.from_dict(table)


def segmenter(folder: Path) -> Path:
    """A small segmentation network, hardly trained."""
    return train(small("segmenter"), heads(), folder, workers=0, report=lambda entry: None)
