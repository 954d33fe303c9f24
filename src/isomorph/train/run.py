"""One training run, from a recipe's name to a model file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import config
from ..weights import locate
from .begin import origin
from .corpus import available, load, prepare
from .loop import train
from .machine import require
from .source import spared, spell


def run(
    recipe: str,
    data: str | Path,
    out: str | Path,
    *,
    changes: tuple[str, ...] = (),
    resume: bool = False,
    start: str | None = None,
    threads: int | None = None,
    workers: int | None = None,
    report: Callable[[dict[str, Any]], None] = print,
) -> Path:
    """Prepare the data where that is still to be done, and train.

    Parameters
    ----------
    recipe : name of a recipe, or path of a TOML file
    data : folder of prepared heads, or one with ``labels/`` and ``t1/`` to prepare into ``out/corpus``
    out : folder of the run
    changes : ``dotted.key=value``, applied to the recipe
    resume : go on from the newest checkpoint in `out`
    start : name or file of a model whose weights to begin with; that which the recipe names if not given
    threads : of the processor; all by default
    workers : processes that make samples; as many as the machine has cores to spare if not given
    report : called with each log entry

    Returns
    -------
    Path
        The model file.
    """
    require()
    plan = config.load(recipe, changes)
    if threads:
        torch.set_num_threads(threads)
    if not resume:  # before data are prepared for an hour
        if begins := origin(plan, start):
            locate(begins)
        spell(plan, available(data))
    if not any(Path(data).glob("*.safetensors")):
        spare = partial(spared, plan)
        data = prepare(data, Path(out) / "corpus", spare=spare, report=lambda line: report({"note": line}))
    return train(plan, load(data), out, resume=resume, start=start, workers=workers, report=report)
