"""The training loop: every operation visible, in order."""

from __future__ import annotations

import copy
import json
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import config
from ..config import Recipe, Stage, Training
from ..errors import IsomorphError, SetupError
from ..interrupt import Interrupted, listening
from ..losses import LOSSES
from ..nets import build
from ..weights import load_model, read_card, save_model
from .checkpoint import load_checkpoint, open_folder, save_checkpoint
from .corpus import Head
from .source import Batch, Samples, split

LOG_EVERY = 50  # steps

Report = Callable[[dict[str, Any]], None]


def train(
    recipe: Recipe,
    heads: list[Head],
    out: str | Path,
    *,
    resume: bool = False,
    start: str | None = None,
    workers: int = 1,
    report: Report = print,
) -> Path:
    """Train a network; interrupt it whenever, and resume.

    Parameters
    ----------
    recipe : Recipe
    heads : list of Head
        As `corpus.load` gives them; those that the recipe holds out are used for validation alone.
    out : folder of the run
        Receives ``log.jsonl``, ``checkpoint-*`` and, at the end and at each validation, ``model.safetensors``.
    resume : bool
        Go on from the newest checkpoint in `out`.
    start : str, optional
        Name or file of a model whose weights to begin with; the recipe must ask for the same network.
    workers : int
        Processes that make samples.
    report : called with each log entry

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    UsageError
        If `out` holds another run, or the recipe holds out a head that is not there.
    IsomorphError
        If the loss is no longer finite.
    """
    trained, held_out = split(recipe, heads)
    run = Run(recipe, Path(out), resume=resume, start=start)
    samples = Samples(recipe, trained, run.step)
    loader = DataLoader(
        samples, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None, worker_init_fn=_deaf
    )
    with listening() as signals:
        try:
            for batch in loader:
                with signals.held():  # a signal waits until the step is done
                    run.advance(batch)
                    if run.due(LOG_EVERY):
                        report(run.log(run.progress()))
                    if run.due(recipe.training.save_every):
                        run.save()
                    if run.due(recipe.training.validate_every):
                        report(run.log(run.publish(trained, held_out)))
        except Interrupted:
            if run.whole:
                run.save()
            raise
    if not run.published():  # killed between the last checkpoint and the model
        report(run.log(run.publish(trained, held_out)))
    return run.model


class Run:
    """A network on its way: weights, their average, the optimiser, and how far it is.

    Parameters
    ----------
    recipe, out, resume, start
        As for `train`.
    """

    def __init__(self, recipe: Recipe, out: Path, *, resume: bool, start: str | None) -> None:
        settings = recipe.training
        self.recipe, self.out, self.model = recipe, out, out / "model.safetensors"
        self.accelerator = _accelerator(settings.precision)
        torch.manual_seed(settings.seed)
        network = build(recipe.network.kind, recipe.network.arguments)
        if start:
            network.load_state_dict(load_model(start).network.state_dict())
        average = copy.deepcopy(network).requires_grad_(False)
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
        open_folder(out, recipe, resume=resume)
        self.step, self.seconds = load_checkpoint(out, network, average, optimiser) if resume else (0, 0.0)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network, self.optimiser = self.accelerator.prepare(network, optimiser)
        self.average = average.to(self.accelerator.device)
        self.clock, self.losses, self.whole = time.monotonic(), [], True

    def advance(self, batch: Batch) -> None:
        """One step."""
        self.whole = False
        settings, device = self.recipe.training, self.accelerator.device
        stage, _ = settings.at(self.step)
        image, target, weight = (x.to(device) for x in batch)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, settings)
        with self.accelerator.autocast():
            image = image.contiguous(memory_format=torch.channels_last_3d)
            prediction = run_part(self.network, image, stage)
        loss = total_loss(stage.loss, prediction.float(), target, weight)
        if not loss.isfinite():
            raise IsomorphError(
                f"the loss is {loss.item()} at step {self.step}; lower the learning_rate of this stage and begin again "
                "in another folder."
            )
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        # A short memory at first: the average of a young network should not remember its birth.
        update(self.average, self.bare, min(settings.average, self.step / (self.step + 10)))
        self.losses.append(loss.item())
        self.whole = True

    @property
    def bare(self) -> nn.Module:
        """The network without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.network)

    def due(self, every: int) -> bool:
        """Every so many steps, and at the last."""
        return self.step % every == 0 or self.step == self.recipe.training.steps

    def progress(self) -> dict[str, Any]:
        """Mean loss and speed since the last call."""
        elapsed, self.clock = time.monotonic() - self.clock, time.monotonic()
        losses, self.losses = self.losses, []
        self.seconds += elapsed
        speed = {"loss": sum(losses) / max(len(losses), 1), "steps_per_second": len(losses) / elapsed}
        return {"step": self.step, "steps": self.recipe.training.steps, **speed}

    def save(self) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.out, self.step, self.seconds, self.bare, self.average, self.optimiser.optimizer)

    def publish(self, trained: list[Head], held_out: list[Head]) -> dict[str, Any]:
        """Score the average on heads held out and write it as a model file."""
        scores = validate(self.average, self.recipe, held_out, self.accelerator) if held_out else {}
        save_model(self.model, self.average, card(self.recipe, trained, self.step, self.seconds, scores))
        return {"step": self.step, **scores}

    def published(self) -> bool:
        """Whether the model file is that of the last step."""
        return self.model.exists() and read_card(self.model).get("steps") == self.step

    def log(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Append to ``log.jsonl``."""
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return entry


def run_part(network: nn.Module, image: Tensor, stage: Stage) -> Tensor:
    """The network, or the part of it that a stage trains; only some networks have parts."""
    return network(image, stage.part) if stage.part else network(image)


def learning_rate(step: int, settings: Training) -> float:
    """In each stage: a linear rise, then half a cosine down to `final`."""
    stage, done = settings.at(step)
    cosine = settings.final + (1 - settings.final) * (1 + math.cos(math.pi * done)) / 2
    return stage.learning_rate * min(1.0, (done * stage.steps + 1) / max(settings.warmup, 1)) * cosine


def total_loss(shares: dict[str, float], prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of the losses of a stage."""
    return torch.stack([share * LOSSES[name](prediction, target, weight) for name, share in shares.items()]).sum()


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; statistics of norms are copied."""
    for a, b in zip(average.parameters(), network.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for a, b in zip(average.buffers(), network.buffers(), strict=True):
        a.copy_(b)


@torch.inference_mode()
def validate(
    network: nn.Module, recipe: Recipe, heads: list[Head], accelerator: Any, count: int = 12
) -> dict[str, float]:
    """Mean absolute error and PSNR (white matter = 1, inside the brain) on samples that never change.

    The last stage of the recipe decides what they look like, so that scores of different stages can be compared.
    """
    network.eval()
    samples, (stage, _) = Samples(recipe, heads), recipe.training.at(recipe.training.steps)
    errors, psnrs = [], []
    for number in range(count):
        image, target, weight = samples.make(recipe.training.steps, -1 - number)
        with accelerator.autocast():
            image = image[None].to(accelerator.device)
            prediction = run_part(network, image, stage).float().cpu()
        error = (prediction[0] - target)[weight == 1]
        errors.append(error.abs().mean().item())
        psnrs.append(-10 * math.log10(max(error.square().mean().item(), 1e-12)))
    network.train()
    return {"validation_mae": sum(errors) / count, "validation_psnr": sum(psnrs) / count}


def card(recipe: Recipe, heads: list[Head], step: int, seconds: float, scores: dict[str, float]) -> dict[str, Any]:
    """What the model file says of itself."""
    kinds = Counter(re.split(r"[-_]?\d", head.name)[0] for head in heads)
    return {
        "name": recipe.name,
        "network": recipe.network.kind,
        "arguments": recipe.network.arguments,
        "white_matter": 1.0,
        "recipe": config.to_dict(recipe),
        "steps": step,
        "hours": round(seconds / 3600, 2),
        "scores": scores,
        "data": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "licence": recipe.licence,
    }


def _accelerator(precision: str) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise SetupError("E905 training needs accelerate; type: pip install 'isomorph[train]'") from None
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision)


def _deaf(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; only the one that trains should answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
