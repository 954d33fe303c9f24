"""The training loop: every operation visible, in order."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .. import config
from ..config import Recipe, Training
from ..errors import SetupError
from ..losses import LOSSES
from ..nets import NETWORKS
from ..weights import load_model, save_model
from .checkpoint import load_checkpoint, save_checkpoint
from .corpus import Head
from .source import Samples, split

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
    """
    accelerator = _accelerator(recipe.training.precision)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(config.to_dict(recipe), indent=1))
    settings = recipe.training

    torch.manual_seed(settings.seed)
    network = NETWORKS[recipe.network.kind](**recipe.network.arguments).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if start:
        network.load_state_dict(load_model(start).network.state_dict())
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    step = load_checkpoint(out, network, average, optimiser) if resume else 0

    trained, held_out = split(recipe, heads)
    samples = Samples(recipe, trained, step)
    loader = DataLoader(samples, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
    network, optimiser = accelerator.prepare(network, optimiser)
    average.to(accelerator.device)
    clock, losses = time.monotonic(), []
    for image, target, weight in loader:
        image = image.to(accelerator.device, memory_format=torch.channels_last_3d)
        target, weight = target.to(accelerator.device), weight.to(accelerator.device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        with accelerator.autocast():
            prediction = network(image)
        loss = total_loss(samples.stage(step).loss, prediction.float(), target, weight)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        update(average, accelerator.unwrap_model(network), min(settings.average, step / (step + 10)))
        losses.append(loss.item())

        if step % 50 == 0:
            rate = len(losses) / (time.monotonic() - clock)
            _log(
                out,
                {"step": step, "steps": settings.steps, "loss": sum(losses) / len(losses), "steps_per_second": rate},
                report,
            )
            clock, losses = time.monotonic(), []
        if step % settings.save_every == 0 or step == settings.steps:
            save_checkpoint(out, step, accelerator.unwrap_model(network), average, optimiser.optimizer)
        if step % settings.validate_every == 0 or step == settings.steps:
            scores = validate(average, recipe, held_out, accelerator) if held_out else {}
            save_model(out / "model.safetensors", average, card(recipe, trained, step, scores))
            _log(out, {"step": step, **scores}, report)
    return out / "model.safetensors"


def learning_rate(step: int, settings: Training) -> float:
    """Linear warm-up, then half a cosine down to `final`."""
    progress = step / max(settings.steps, 1)
    cosine = settings.final + (1 - settings.final) * (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * min(1.0, (step + 1) / max(settings.warmup, 1)) * cosine


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
    samples = Samples(recipe, heads)
    errors, psnrs = [], []
    for number in range(count):
        image, target, weight = samples.make(recipe.training.steps, -1 - number)
        with accelerator.autocast():
            prediction = network(image[None].to(accelerator.device)).float().cpu()
        error = (prediction[0] - target)[weight == 1]
        errors.append(error.abs().mean().item())
        psnrs.append(-10 * math.log10(max(error.square().mean().item(), 1e-12)))
    network.train()
    return {"validation_mae": sum(errors) / count, "validation_psnr": sum(psnrs) / count}


def card(recipe: Recipe, heads: list[Head], step: int, scores: dict[str, float]) -> dict[str, Any]:
    """What the model file says of itself."""
    return {
        "name": recipe.name,
        "network": recipe.network.kind,
        "arguments": recipe.network.arguments,
        "white_matter": 1.0,
        "recipe": config.to_dict(recipe),
        "steps": step,
        "scores": scores,
        "data": f"{len(heads)} heads: {', '.join(sorted({head.name.rstrip('0123456789') for head in heads}))}",
        "licence": "Apache-2.0",
    }


def _accelerator(precision: str) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise SetupError("training needs accelerate; type: pip install 'isomorph[train]'") from None
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision)


def _log(out: Path, entry: dict[str, Any], report: Report) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    report(entry)
