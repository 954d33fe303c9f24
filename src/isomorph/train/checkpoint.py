"""Checkpoints that survive a kill at any time: no pickle, verified before they count, the last three kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ..config import Recipe, to_dict
from ..errors import UsageError
from ..place import place

KEEP = 3


def open_folder(folder: Path, recipe: Recipe, *, resume: bool) -> None:
    """Make sure that a folder belongs to this run, and say so in ``recipe.json``.

    Raises
    ------
    UsageError
        If it holds checkpoints and `resume` was not asked for, or they are those of another recipe.
    """
    wanted, path = json.dumps(to_dict(recipe), indent=1), folder / "recipe.json"
    if any(folder.glob("checkpoint-*.json")):
        if not resume:
            raise UsageError(f"{folder.name} holds checkpoints; give --resume to go on, or another folder.")
        if path.exists() and path.read_text() != wanted:
            raise UsageError(
                f"{folder.name} holds checkpoints of another recipe; give the same recipe and --set, or begin a new "
                "folder with --start and the model of the old one."
            )
    folder.mkdir(parents=True, exist_ok=True)
    place(path, wanted.encode())


def save_checkpoint(
    folder: Path, step: int, seconds: float, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write everything that the next step depends on, then forget all but the last three.

    Parameters
    ----------
    folder : of the run
    step : number of steps done
    seconds : spent on them
    network, average : same architecture
    optimiser : torch.optim.Optimizer
    """
    moments, scalars = _flatten(optimiser)
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()} | moments
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    state = {"step": step, "seconds": seconds, "sha256": digest, "optimiser": scalars}
    stem = folder / f"checkpoint-{step:07d}"
    place(stem.with_suffix(".safetensors"), content)
    place(stem.with_suffix(".json"), json.dumps(state, allow_nan=False).encode())  # last: it makes the other count
    for old in sorted(folder.glob("checkpoint-*.json"))[:-KEEP]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load the newest checkpoint that verifies.

    Returns
    -------
    steps done, and seconds spent on them; 0, 0 where there is no checkpoint
    """
    for path in sorted(folder.glob("checkpoint-*.json"), reverse=True):
        found = _verified(path)
        if found is None:
            continue
        state, tensors = found
        for prefix, module in (("network.", network), ("average.", average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        _unflatten(optimiser, tensors, state["optimiser"])
        return state["step"], state["seconds"]
    return 0, 0.0


def _verified(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    try:
        state = json.loads(path.read_bytes())
        content = path.with_suffix(".safetensors").read_bytes()
    except (OSError, ValueError):
        return None
    return (state, load(content)) if hashlib.sha256(content).hexdigest() == state["sha256"] else None


def _flatten(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    table = optimiser.state_dict()
    moments = {f"moment.{i}.{k}": v for i, entry in table["state"].items() for k, v in entry.items()}
    return moments, {"param_groups": table["param_groups"]}


def _unflatten(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("moment."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, **scalars})
