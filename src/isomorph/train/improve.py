"""A better model in the time that there is: train on from a model, compare both on heads held out, keep the better."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .. import config
from ..config import Recipe
from ..errors import UsageError
from ..place import place
from ..weights import Model, load_model, locate, save_model
from .corpus import Head, load
from .loop import train
from .machine import accelerator, writing
from .source import split
from .validate import DECIDES, validate

CARDS = Path("docs", "model-cards")
BEFORE = "before.safetensors"  # in the folder of a run: the model that was replaced
HEADING = "## Runs of `isomorph improve`"
ABOUT = (
    "Validation before and after, on the same samples of the heads held out; a result that is not better is not kept."
)


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
    kept: bool

    @property
    def line(self) -> str:
        """For whoever waits."""
        verb = "kept" if self.kept else "not kept, the model is as it was"
        return f"{self.score} {self.before:.4f} before, {self.after:.4f} after {self.steps} steps: {verb}"


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
    by the validation of the recipe, its last stage, as they stand in their files.

    Parameters
    ----------
    recipe : name of a recipe, or path of a TOML file
    data : folder of heads that `isomorph corpus` prepared; no image library is needed
    out : folder of the run
        Receives what `train` writes, and the model that was replaced as ``before.safetensors``.
    minutes : float
        Of training, validations on the way included.
    model : name or file of the model to improve; that of the name of the recipe if not given
    stage : int, optional
        Of the recipe, counted from 1; the last if not given.
    record : path of a Markdown file that gets a row in its table of runs
        If not given, ``docs/model-cards/NAME.md`` where there is one, else ``card.md`` in `out`.
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
        If there is no time, no such stage, no head held out, or the run in `out` is over; and whatever `train` raises.
    """
    if not 0 < minutes < float("inf"):
        raise UsageError(f"{minutes:g} minutes were given; give a time above 0.")
    plan, out = config.load(recipe, changes), Path(out)
    if (out / BEFORE).exists():
        raise UsageError(f"the run in {out.name} is over, and its model was kept; give another folder.")
    if threads:
        torch.set_num_threads(threads)
    path = locate(model or plan.name)
    old = load_model(path)  # refused before any work
    heads = load(data)
    _, held_out = split(plan, heads)
    if not held_out:
        raise UsageError("no head is held out, so nothing says which model is better; see held_out of the recipe.")
    number = len(plan.training.stages) if stage is None else stage
    part = _shortened(plan, number, minutes, runs=len(old.card.get("runs", [])))
    trained = train(part, heads, out, start=str(path), resume=resume, workers=workers, report=report)
    machine = accelerator(plan.training)
    if not machine.is_main_process:
        return None
    new = load_model(trained)
    scores = [_scores(which, plan, held_out, machine) for which in (old, new)]
    result = _result(plan, scores, new, machine, stage=number, minutes=minutes)
    if result.kept:
        _keep(new, old, path, out / BEFORE, scores[1], result)
    _record(_card_file(record, plan, out), plan.name, result)
    return result


def _shortened(plan: Recipe, stage: int, minutes: float, runs: int) -> Recipe:
    """The recipe with one stage alone, as long as the time that there is, and samples that no run before has seen."""
    stages = plan.training.stages
    if not 1 <= stage <= len(stages):
        raise UsageError(f"stage {stage} was asked for, the recipe has stages 1 to {len(stages)}.")
    seed = plan.training.seed + runs  # else each run would see the samples of the one before
    training = dataclasses.replace(plan.training, stages=(stages[stage - 1],), minutes=minutes, seed=seed)
    return dataclasses.replace(plan, training=training)


def _scores(model: Model, plan: Recipe, held_out: list[Head], machine: Any) -> dict[str, float]:
    return validate(model.network.to(machine.device), plan, held_out, machine)[0]


def _result(
    plan: Recipe, scores: list[dict[str, float]], new: Model, machine: Any, *, stage: int, minutes: float
) -> Improvement:
    score = DECIDES[plan.kind]
    before, after = (found[score] for found in scores)
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
        kept=after > before,  # neither where it is as good, nor where it is no number
    )


def _keep(new: Model, old: Model, path: Path, before: Path, scores: dict[str, float], result: Improvement) -> None:
    """Put the new model in the place of the old one, which is set aside; its card says what it came from."""
    runs = [*old.card.get("runs", []), dataclasses.asdict(result)]
    card = new.card | {"scores": scores, "start": old.sha256, "runs": runs}
    with writing(path.name, "the model is as it was; make space"):
        place(before, path.read_bytes())
        save_model(path, new.network, card)


def _card_file(record: str | Path | None, plan: Recipe, out: Path) -> Path:
    there = CARDS / f"{plan.name}.md"
    return Path(record) if record else there if there.exists() else out / "card.md"


def _record(path: Path, name: str, result: Improvement) -> None:
    """A row at the end of the table of runs; the table, and the page, where there is none yet."""
    cells = dataclasses.asdict(result) | {"kept": "yes" if result.kept else "no"}
    cells |= {"before": f"{result.before:.4f}", "after": f"{result.after:.4f}", "minutes": f"{result.minutes:g}"}
    with writing(path.name, "add the row by hand: " + _row(cells.values())):
        text = path.read_text(encoding="utf-8") if path.exists() else f"# Model card: {name}\n"
        if HEADING not in text:
            text = f"{text.rstrip()}\n\n{HEADING}\n\n{ABOUT}\n\n{_row(cells)}\n{'|---' * len(cells)}|\n"
        above, _, below = text.partition(HEADING)
        table, *rest = re.split(r"^(?=#)", below, maxsplit=1, flags=re.MULTILINE)
        page = f"{above}{HEADING}{table.rstrip()}\n{_row(cells.values())}\n" + "".join(f"\n{part}" for part in rest)
        place(path, page.encode())


def _row(cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
