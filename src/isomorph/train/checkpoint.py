"""Checkpoints that survive a kill at any time: no pickle, verified before they count, the last three kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ..config import Recipe, from_dict, to_dict
from ..errors import IsomorphError, SetupError, UsageError
from ..place import place
from .machine import writing

KEEP = 3
State = dict[str, Any]


def open_folder(folder: Path, recipe: Recipe, *, resume: bool, write: bool = True) -> None:
    """Make sure that a folder belongs to this run, and say so in ``recipe.json``.

    Parameters
    ----------
    folder : of the run
    recipe : Recipe
    resume : go on from the checkpoints that are there
    write : only look, if not: of several processes one writes

    Raises
    ------
    UsageError
        If it holds checkpoints, a model or a log and `resume` was not asked for, or checkpoints of another recipe.
    SetupError
        If it cannot be written.
    """
    path = folder / "recipe.json"
    if any(folder.glob("checkpoint-*.json")):
        if not resume:
            raise UsageError(f"{folder.name} holds checkpoints; give --resume to go on, or another folder.")
        if path.exists() and not _same(path, recipe):
            raise UsageError(
                f"{folder.name} holds checkpoints of another recipe; give the same recipe and --set, or begin a new "
                "folder with --start and the model of the old one."
            )
    elif not resume and (left := _remains(folder)):
        raise UsageError(f"{folder.name} holds {left} of another run; give another folder, or move it away.")
    if write:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".*.tmp*"):  # by a kill in the middle of a file
                left.unlink(missing_ok=True)
            place(path, json.dumps(to_dict(recipe), indent=1).encode())
        except OSError as error:
            raise SetupError(f"E702 {folder.name} cannot be written ({error.strerror}); choose another.") from None


def save_checkpoint(
    folder: Path, state: State, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write everything that the next step depends on, then forget all but the last three.

    Parameters
    ----------
    folder : of the run
    state : dict
        Plain numbers; ``step`` is the number of steps done.
    network, average : same architecture
    optimiser : torch.optim.Optimizer

    Raises
    ------
    SetupError
        If the disk is full, or what was written reads back differently. Older checkpoints are untouched.
    """
    moments, scalars = _flatten(optimiser)
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()} | moments
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"checkpoint-{state['step']:07d}.json"
    with writing(path.stem):
        place(_tensors(path), content)
        if hashlib.sha256(_tensors(path).read_bytes()).hexdigest() != digest:
            raise SetupError(f"E703 {_tensors(path).name} reads back differently; the disk is not to be trusted.")
        table = {**state, "sha256": digest, "optimiser": scalars}
        place(path, json.dumps(table, allow_nan=False).encode())  # last: it makes the other count
        _forget(folder)


def load_checkpoint(
    folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, *, write: bool = True
) -> State | None:
    """Load the newest checkpoint that verifies; newer ones are removed, so that they do not count as the last.

    Parameters
    ----------
    folder : of the run
    network, average, optimiser : loaded into
    write : only look, if not: of several processes one writes

    Returns
    -------
    The state it was saved with, or None where there is no checkpoint

    Raises
    ------
    SetupError
        If there are checkpoints and none verifies. They are untouched.
    """
    paths = sorted(folder.glob("checkpoint-*.json"), reverse=True)
    for number, path in enumerate(paths):
        found = _verified(path)
        if found is None:
            continue
        for newer in paths[:number] if write else []:
            newer.unlink(missing_ok=True)
            _tensors(newer).unlink(missing_ok=True)
        state, tensors = found
        for prefix, module in (("network.", network), ("average.", average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        _unflatten(optimiser, tensors, state["optimiser"])
        return state
    if paths:
        raise SetupError(
            f"E703 {folder.name} holds {len(paths)} checkpoints, none of which reads back as written; restore one from "
            "a copy, or begin again in another folder."
        )
    return None


def _remains(folder: Path) -> str:
    """What a run that has no checkpoints left behind."""
    log = folder / "log.jsonl"
    if (folder / "model.safetensors").exists():
        return "model.safetensors"
    return log.name if log.exists() and log.stat().st_size else ""


def _tensors(path: Path) -> Path:
    return path.with_suffix(".safetensors")


def _same(path: Path, recipe: Recipe) -> bool:
    """Whether a recipe that was written down is this one; options that came later have their defaults."""
    try:
        return from_dict(json.loads(path.read_bytes())) == recipe
    except (ValueError, TypeError, AttributeError, IsomorphError):
        return False


def _forget(folder: Path) -> None:
    """All but the last, and tensors that a kill left without their other half."""
    for old in sorted(folder.glob("checkpoint-*.json"))[:-KEEP]:
        old.unlink()
    for tensors in folder.glob("checkpoint-*.safetensors"):
        if not tensors.with_suffix(".json").exists():
            tensors.unlink()


def _verified(path: Path) -> tuple[State, dict[str, Tensor]] | None:
    try:
        state = json.loads(path.read_bytes())
        content = _tensors(path).read_bytes()
        sound = hashlib.sha256(content).hexdigest() == state["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (state, load(content)) if sound else None


def _flatten(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], State]:
    table = optimiser.state_dict()
    moments = {f"moment.{i}.{k}": v for i, entry in table["state"].items() for k, v in entry.items()}
    return moments, {"param_groups": table["param_groups"]}


def _unflatten(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: State) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("moment."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, **scalars})
