"""The training loop: every operation visible, in order."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..config import Recipe
from ..errors import IsomorphError, SetupError
from ..heap import kept_memory
from ..interrupt import Interrupted, listening
from ..nets import build
from ..weights import read_card, save_model
from .begin import begin_with, origin
from .card import card
from .check import check
from .checkpoint import load_checkpoint, open_folder, save_checkpoint
from .corpus import Head
from .journal import Journal
from .machine import accelerator, agreed, deaf, ended, precise, spare, undeterred, writing
from .muon import Muon
from .objective import Objective
from .pictures import draw
from .schedule import learning_rate, update
from .source import Batch, Samples, split
from .validate import run_part, validate

OPTIMISERS: dict[str, type[torch.optim.AdamW]] = {"adamw": torch.optim.AdamW, "muon": Muon}

Report = Callable[[dict[str, Any]], None]


def train(
    recipe: Recipe,
    heads: list[Head],
    out: str | Path,
    *,
    resume: bool = False,
    start: str | None = None,
    workers: int | None = None,
    report: Report = print,
) -> Path:
    """Train a network; interrupt it whenever, and resume.

    Parameters
    ----------
    recipe : Recipe
    heads : list of Head
        As `corpus.load` gives them; those that the recipe holds out are used for validation alone.
    out : folder of the run
        Receives ``log.jsonl``, ``checkpoint-*`` and, at the end and at each validation, ``model.safetensors`` and a
        picture in ``validation/``.
    resume : bool
        Go on from the newest checkpoint in `out`.
    start : str, optional
        Name or file of a model whose weights to begin with; the recipe must ask for the same network. That which the
        recipe names if not given.
    workers : int, optional
        Processes that make samples; if not given, as many as the machine has cores to spare, and none where there is
        a GPU. With none, samples are made where the network runs: on a GPU that is soonest.
    report : called with each log entry

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    UsageError
        If `out` holds another run, the recipe does not fit together, or holds out a head that is not there.
    SetupError
        If the folder cannot be written, or the disk is full; E807 if a process that makes samples was ended.
    IsomorphError
        If the loss is no longer finite.
    """
    trained, held_out = split(recipe, heads, report=lambda line: report({"note": line}))
    run = Run(recipe, Path(out), trained, held_out, resume=resume, start=start, report=report)
    workers = spare(run.accelerator) if workers is None else workers
    where = run.accelerator.device if workers == 0 and run.accelerator.device.type == "cuda" else torch.device("cpu")
    processes = run.accelerator.process_index, run.accelerator.num_processes
    samples = Samples(recipe, trained, run.step, *processes, device=where)
    loader = DataLoader(
        samples, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, worker_init_fn=deaf
    )
    with listening() as signals:
        try:
            batches = iter(() if run.over else loader)  # its processes begin before memory is kept: theirs is not
            with kept_memory():
                for batch in batches:
                    with signals.held():  # a signal waits until the step is done
                        run.whole = False
                        run.advance(batch)
                        run.record()
                        run.whole = True
                    if run.over:
                        break
        except Interrupted:
            run.keep()
            raise
        except (RuntimeError, EOFError, ConnectionError) as error:
            if not ended(error):
                raise
            with signals.held():
                run.keep()
            said = "a process that makes samples was ended, perhaps for want of memory"
            raise SetupError(f"E807 {said}; go on with --resume, and with fewer --workers.") from None
    if run.main and not run.published():  # the model file went astray
        run.publish()
    return run.model


class Run:
    """A network on its way: weights, their average, the optimiser, and how far it is.

    Parameters
    ----------
    recipe, out, resume, start, report
        As for `train`.
    trained, held_out : heads
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        trained: list[Head],
        held_out: list[Head],
        *,
        resume: bool,
        start: str | None,
        report: Report,
    ) -> None:
        settings = recipe.training
        self.recipe, self.out, self.model = recipe, out, out / "model.safetensors"
        self.trained, self.held_out, self.report = trained, held_out, report
        check(recipe)
        self.accelerator = accelerator(settings)
        self.main = self.accelerator.is_main_process
        check(recipe, self.accelerator.num_processes)
        self.objective = Objective(recipe, self.accelerator.device, self.accelerator.autocast)
        torch.manual_seed(settings.seed)
        network = build(recipe.network.kind, recipe.network.arguments, recipe.network.residual)
        average = copy.deepcopy(network).requires_grad_(False)
        optimiser = OPTIMISERS[settings.optimiser](network.parameters(), weight_decay=settings.weight_decay)
        open_folder(out, recipe, resume=resume, write=self.main)
        state = load_checkpoint(out, network, average, optimiser, write=self.main) if resume else None
        if state is None and (begins := origin(recipe, start)):  # who goes on does not need that model any more
            kept = begin_with(network, begins)
            if self.main and (known := sorted(set(recipe.held_out) - set(kept))):
                report({"note": f"{Path(begins).name} may have been trained on {known[:3]}, who are held out here"})
            average.load_state_dict(network.state_dict())
        state = state or {"step": 0}
        used = precise(self.accelerator)
        if (before := state.get("precision", used)) != used and self.main:
            report({"note": f"this run was in {before}, and goes on in {used}"})
        self.step, self.seconds = agreed(self.accelerator, state["step"]), state.get("seconds", 0.0)
        self.losses, self.whole = list(state.get("losses", [])), True
        self.passed = self.seconds / 60 / settings.minutes if settings.minutes else 0.0  # share of the minutes
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network, self.optimiser = self.accelerator.prepare(network, optimiser)
        self.average = average.to(self.accelerator.device)
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        with writing("log.jsonl"):
            self.journal = Journal(out, self.step) if self.main else None
        self.clock, self.ended, self.waited, self.steps = time.monotonic(), time.monotonic(), 0.0, 0

    def advance(self, batch: Batch) -> None:
        """One step."""
        self.waited += time.monotonic() - self.ended
        settings, device = self.recipe.training, self.accelerator.device
        stage, _ = settings.at(self.step)
        # What is random about a step, such as a dropout, depends on its number alone: nothing to save, nothing to lose.
        torch.manual_seed((settings.seed << 42) + (self.step << 12) + self.accelerator.process_index & (1 << 63) - 1)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, settings, self.passed)
        total, count = torch.zeros((), device=device), len(batch.image)
        micro = settings.micro or count
        for first in range(0, count, micro):
            part = Batch(*(x[first : first + micro].to(device, non_blocking=True) for x in batch))
            last = first + micro >= count
            with nullcontext() if last else self.accelerator.no_sync(self.network):  # gradients travel once
                with self.accelerator.autocast():
                    image = part.image.contiguous(memory_format=torch.channels_last_3d)
                    prediction = run_part(self.network, image, stage)
                loss = self.objective(stage, prediction, part) * (len(image) / count)
                self.accelerator.backward(loss)
            total += loss.detach()
        told = torch.stack([total, torch.full_like(total, self.spent)])
        loss, spent = self.accelerator.reduce(told, "mean").tolist()  # of the whole batch: all processes end together
        self.passed = spent / 60 / settings.minutes if settings.minutes else 0.0
        if not math.isfinite(loss):
            raise IsomorphError(
                f"the loss is {loss} at step {self.step}; lower the learning_rate of this stage and begin again "
                "in another folder."
            )
        self.accelerator.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        self.steps += 1
        # A short memory at first: the average of a young network should not remember its birth.
        update(self.average, self.bare, min(settings.average, self.step / (self.step + 10)))
        self.losses.append(loss)
        self.ended = time.monotonic()

    def record(self) -> None:
        """Log, score, save, where it is time to; a checkpoint last, so that it never knows of what was not written."""
        settings = self.recipe.training
        if not self.main:
            return
        if self.due(settings.log_every):
            self.log(self.progress())
        if self.due(settings.validate_every):
            self.publish()
        if self.due(settings.save_every):
            self.save()
        self.ended = time.monotonic()

    @property
    def bare(self) -> nn.Module:
        """The network without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.network)

    @property
    def spent(self) -> float:
        """Seconds, those before an interruption too."""
        return self.seconds + time.monotonic() - self.clock

    @property
    def over(self) -> bool:
        """Whether all steps are done, or all minutes."""
        settings = self.recipe.training
        return self.passed >= 1 if settings.minutes else self.step >= settings.steps

    def due(self, every: int) -> bool:
        """Every so many steps, and at the last."""
        return self.step % every == 0 or self.over

    def progress(self) -> dict[str, Any]:
        """Mean loss since the last entry, speed, and the share of the time that steps waited for samples."""
        elapsed, self.clock = max(time.monotonic() - self.clock, 1e-9), time.monotonic()
        losses, self.losses = self.losses, []
        speed = {"steps_per_second": self.steps / elapsed, "waiting": min(self.waited / elapsed, 1.0)}
        self.seconds, self.waited, self.steps = self.seconds + elapsed, 0.0, 0
        settings, mean = self.recipe.training, {"loss": math.fsum(losses) / max(len(losses), 1)}
        end = {"minutes": self.seconds / 60} if settings.minutes else {"steps": settings.steps}
        return {"step": self.step, **end, **mean, **speed}

    def save(self) -> None:
        """Write a checkpoint."""
        if not self.main:
            return
        state: dict[str, Any] = {"step": self.step, "seconds": self.spent, "losses": self.losses}
        state["precision"] = precise(self.accelerator)
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        save_checkpoint(self.out, state, self.bare, self.average, self.optimiser.optimizer)

    def keep(self) -> None:
        """Write a checkpoint before the run ends too early, unless a step was left in its midst."""
        if self.whole:
            undeterred(self.save)

    def publish(self) -> None:
        """Score the average on heads held out, show what it makes of them, and write it as a model file."""
        scores: dict[str, float] = {}
        if self.held_out:
            scores, rows = validate(self.average, self.recipe, self.held_out, self.accelerator)
            with writing("the picture of a validation"):
                draw(self.out / "validation" / f"{self.step:07d}.png", rows)
        used = precise(self.accelerator)
        table = card(self.recipe, self.trained, self.step, self.spent, scores, used, self.objective.sha256)
        with writing(self.model.name):
            save_model(self.model, self.average, table)
        self.log({"step": self.step, **scores})

    def published(self) -> bool:
        """Whether the model file is that of the last step."""
        return self.model.exists() and read_card(self.model).get("steps") == self.step

    def log(self, entry: dict[str, Any]) -> None:
        """Write an entry down, and tell it."""
        if self.journal:
            with writing(self.journal.path.name):
                self.journal.write(entry)
            self.report(entry)
