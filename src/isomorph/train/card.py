"""What a model file says of itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from .. import config
from ..config import Recipe
from .check import images
from .corpus import Head


def card(
    recipe: Recipe,
    heads: list[Head],
    step: int,
    seconds: float,
    scores: dict[str, float],
    precision: str,
    segmenter: str = "",
) -> dict[str, Any]:
    """Everything that prediction must know, and how the weights came about.

    Parameters
    ----------
    recipe : Recipe
    heads : trained on; who lent a scan skull and skin counts among the data
    step, seconds : of training, so far
    scores : of the validation
    precision : in which it was trained, on this machine
    segmenter : SHA-256 of the frozen segmentation network, where there was one
    """
    people = {name for head in heads for name in (head.name, head.lender) if name}
    kinds = Counter(re.split(r"[-_]?\d", name)[0] for name in people)
    table = config.to_dict(recipe)
    table["training"]["segmenter"] = Path(recipe.training.segmenter).name  # a path is nobody's business
    table["start"] = Path(recipe.start).name
    scans, maps = images(recipe.generator)
    labels = {"labels": list(recipe.classes)} if recipe.kind == "segmentation" else {}
    through = {"segmenter": segmenter} if segmenter else {}
    return {
        "name": recipe.name,
        "kind": recipe.kind,
        "network": recipe.network.kind,
        "arguments": recipe.network.arguments,
        "residual": list(recipe.network.residual),
        "scans": scans,
        "reliability": maps > 0,
        "target": recipe.generator.target,  # a contrast, or the number of the scan that is made sharp
        "white_matter": 1.0,
        "recipe": table,
        "steps": step,
        "hours": round(seconds / 3600, 2),
        "precision": precision,
        "scores": scores,
        "data": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "licence": recipe.licence,
        **labels,
        **through,
    }
