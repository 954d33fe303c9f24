"""A better model in the time that there is: train on from a model, compare both on heads held out, keep the better."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import stdev
from typing import Any
from zlib import crc32

import torch
from torch import nn

from .. import config
from ..config import Recipe
from ..errors import SetupError, UsageError
from ..place import place
from ..weights import Model, digest, load_model, locate, save_model
from .begin import kept_from
from .corpus import Head, load
from .loop import train
from .machine import accelerator, writing
from .record import add_row
from .source import split
from .validate import DECIDES, means, score_each

BEFORE = "before.safetensors"  # in the folder of a run: the model that was replaced
Scores = list[dict[str, float]]  # of each sample


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """What came of a run; its fields are the columns of the table in the model's card."""

    date: str
    device: str
    stage: int  # of the recipe, counted from 1
    minutes: float
    steps: int
    score: str  # what is compared; more is better
    before: float
    after: float
    error: float | None  # standard error of the difference over samples; None where there is but one
    kept: bool

    @property
    def line(self) -> str:
        """For whoever waits."""
        verb = "kept" if self.kept else "not kept, the model is as it was"
        error = "" if self.error is None else f" (difference known to {self.error:.4f})"
        return f"{self.score} {self.before:.4f} before, {self.after:.4f} after {self.steps} steps{error}: {verb}"


def improve(
    recipe: str,
    data: str | Path,
    out: str | Path,
    *,
    minutes: float,
    model: str | None = None,
    stage: int | None = None,
    record: str | Path | None = None,
    changes: tuple[str, ...] = (),
    resume: bool = False,
    threads: int | None = None,
    workers: int | None = None,
    report: Callable[[dict[str, Any]], None] = print,
) -> Improvement | None:
    """Train a model for some minutes more, and replace it if it has become better.

    Nothing but weights is taken over: a short warm-up stands in for the state of an optimiser. Both models are scored
    by the validation of the recipe, its last stage, as they stand in their files at the end: whatever another run has
    put there in the meantime must be beaten, too.

    Parameters
    ----------
    recipe : name of a recipe, or path of a TOML file
    data : folder of heads that `isomorph corpus` prepared; no image library is needed
    out : folder of the run
        Receives what `train` writes, and the model that was replaced as ``before.safetensors``. Its name chooses the
        samples: another folder, other samples.
    minutes : float
        Of training, validations on the way included.
    model : name or file of the model to improve; that of the name of the recipe if not given
    stage : int, optional
        Of the recipe, counted from 1; the last if not given.
    record : path of a Markdown file that gets a row in its table of runs; ``card.md`` in `out` if not given
    changes : ``dotted.key=value``, applied to the recipe
    resume : go on with a run that was interrupted in `out`
    threads : of the processor; all by default
    workers : processes that make samples, as for `train`
    report : called with each log entry

    Returns
    -------
    Improvement
        None in all processes but the first.

    Raises
    ------
    UsageError
        If there is no time, no such stage, no head held out, the model is another than the recipe makes, or the run in
        `out` is over; and whatever `train` raises.
    SetupError
        If the model lies where it cannot be replaced.
    """
    if not 0 < minutes < float("inf"):
        raise UsageError(f"{minutes:g} minutes were given; give a time above 0.")
    plan, out = config.load(recipe, changes), Path(out)
    if threads:
        torch.set_num_threads(threads)
    path = locate(model or plan.name)
    began = load_model(path)
    _refuse(plan, began, path, out)  # before any work
    heads = load(data)
    _, held_out = split(plan, heads)
    if not held_out:
        raise UsageError("no head is held out, so nothing says which model is better; see held_out of the recipe.")
    number = len(plan.training.stages) if stage is None else stage
    part = _shortened(plan, number, minutes, other=len(began.card.get("runs", [])) + crc32(out.resolve().name.encode()))
    trained = train(part, heads, out, start=str(path), resume=resume, workers=workers, report=report)
    machine = accelerator(plan.training)
    if not machine.is_main_process:
        return None
    new = load_model(trained)
    scores = [_scores(which, plan, held_out, machine) for which in (load_model(path), new)]
    result = _result(plan, scores, new, machine, stage=number, minutes=minutes)
    if result.kept:
        runs = [*began.card.get("runs", []), dataclasses.asdict(result)]
        came = {"scores": means(scores[1]), "start": began.sha256, "runs": runs}
        _keep(new.network, _card(new.card, began.card, plan) | came, path, out / BEFORE)
    add_row(Path(record) if record else out / "card.md", plan.name, _cells(result))
    return result


def _refuse(plan: Recipe, began: Model, path: Path, out: Path) -> None:
    """What would end in nothing, or in the loss of a model, after all the minutes."""
    if (out / BEFORE).exists() and digest(out / BEFORE) != began.sha256:  # else it was killed before the last step
        raise UsageError(f"the run in {out.name} is over, and its model was kept; give another folder.")
    wanted = {"name": plan.name, "kind": plan.kind, "network": plan.network.kind, "arguments": plan.network.arguments}
    if other := [name for name, value in wanted.items() if began.card.get(name) != value]:
        said = f"{path.name} differs from the recipe {plan.name} in its {', '.join(other)}"
        raise UsageError(f"{said}; to begin a model with its weights: isomorph train RECIPE --start {path.stem}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        said = f"E702 the folder of {path.name} cannot be written, and no better model could take its place"
        raise SetupError(f"{said}; give a copy of it by --model.")


def _shortened(plan: Recipe, stage: int, minutes: float, other: int) -> Recipe:
    """The recipe with one stage alone, as long as the time that there is, and other samples than runs before."""
    stages = plan.training.stages
    if not 1 <= stage <= len(stages):
        raise UsageError(f"stage {stage} was asked for, the recipe has stages 1 to {len(stages)}.")
    seed = plan.training.seed + other
    training = dataclasses.replace(plan.training, stages=(stages[stage - 1],), minutes=minutes, seed=seed)
    return dataclasses.replace(plan, training=training)


def _scores(model: Model, plan: Recipe, held_out: list[Head], machine: Any) -> Scores:
    return score_each(model.network.to(machine.device), plan, held_out, machine)[0]


def _result(plan: Recipe, scores: list[Scores], new: Model, machine: Any, *, stage: int, minutes: float) -> Improvement:
    score = DECIDES[plan.kind]
    before, after = (means(found)[score] for found in scores)
    gains = [b[score] - a[score] for a, b in zip(*scores, strict=True)]
    name = torch.cuda.get_device_name() if machine.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return Improvement(
        date=datetime.now(UTC).date().isoformat(),
        device=name if machine.num_processes == 1 else f"{machine.num_processes} x {name}",
        stage=stage,
        minutes=minutes,
        steps=new.card["steps"],
        score=score,
        before=before,
        after=after,
        error=stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None,
        kept=after > before,  # neither where it is as good, nor where it is no number
    )


def _card(card: dict[str, Any], before: dict[str, Any], plan: Recipe) -> dict[str, Any]:
    """What the weights are after all runs; what the last one was stands among its ``runs``."""
    whole = config.to_dict(plan)["training"]
    training = card["recipe"]["training"] | {name: whole[name] for name in ("stages", "minutes", "seed")}
    return card | {
        "recipe": card["recipe"] | {"training": training},
        "steps": before.get("steps", 0) + card["steps"],
        "hours": round(before.get("hours", 0.0) + card["hours"], 2),
        "data": _most(before.get("data", ""), card["data"]),
        "held_out": [name for name in plan.held_out if name in kept_from(before)],
    }


def _most(*said: str) -> str:
    """Of each kind of head as many as any run saw, such as 5 brain, 60 sub; other words stand behind these."""
    most, words = Counter[str](), list[str]()
    for part in ", ".join(filter(None, said)).split(", "):
        count, _, kind = part.partition(" ")
        if count.isdecimal():
            most[kind] = max(most[kind], int(count))
        elif part not in words:
            words.append(part)
    return ", ".join([f"{count} {kind}" for kind, count in sorted(most.items())] + words)


def _keep(network: nn.Module, card: dict[str, Any], path: Path, before: Path) -> None:
    """Put a network in the place of the old one, which is set aside."""
    with writing(path.name, "the model is as it was; make space, or see who may write there, and go on with --resume"):
        place(before, path.read_bytes())
        save_model(path, network, card)


def _cells(result: Improvement) -> dict[str, str]:
    """Of the row in the table of runs."""
    cells = {name: str(value) for name, value in dataclasses.asdict(result).items()}
    scores = {name: f"{value:.4f}" for name, value in (("before", result.before), ("after", result.after))}
    error = "-" if result.error is None else f"{result.error:.4f}"
    return cells | scores | {"error": error, "kept": "yes" if result.kept else "no", "minutes": f"{result.minutes:g}"}
