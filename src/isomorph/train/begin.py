"""Weights of another model to begin with, as far as they fit."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Recipe
from ..errors import UsageError
from ..nets import Cascade
from ..weights import load_model

FIRST = "stem.weight"  # what sees the inputs of a network, and nothing else
ENOUGH = 0.9  # share of the weights that must fit: with less it is another network


def origin(recipe: Recipe, start: str | None) -> str:
    """The model whose weights a run begins with: the one that was asked for, else that of the recipe; empty for none.

    Parameters
    ----------
    recipe : Recipe
    start : name or file of a model, or None where nothing was said
    """
    return recipe.start if start is None else start


def begin_with(network: nn.Module, start: str) -> list[str]:
    """Take over the weights of a model [1]_.

    A network with further inputs, the last of all, ignores them at first; a last layer with other outputs begins as it
    is. A cascade for more scans goes on from one for fewer. Where else inputs reach layers beside the first one, it is
    not known which are the new ones: those are refused.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    start : name or file of the model

    Returns
    -------
    list of str
        Heads that the model was kept from, as its card says.

    Raises
    ------
    UsageError
        If the model holds another network, or one whose weights cannot be told to fit.

    References
    ----------
    .. [1] Yosinski et al., NeurIPS 2014, arXiv:1411.1792
    """
    model = load_model(start)
    before = model.network
    own, old = network.state_dict(), before.state_dict()
    if isinstance(network, Cascade) and isinstance(before, Cascade) and before.scans < network.scans:
        with suppress(RuntimeError):  # of another shape: refused below
            old = network.grown(old, before.scans)
    fitting = {key: fitted for key, x in own.items() if (fitted := _fitted(key, old.get(key), x)) is not None}
    taken, all_ = (sum(x.numel() for x in weights.values()) for weights in (fitting, own))
    new = own.keys() - fitting.keys()
    same = old.keys() == own.keys() and all(own[key].shape[1:] == old[key].shape[1:] for key in new)
    if not same or taken < ENOUGH * all_:
        raise UsageError(f"{Path(start).name} holds another network than the recipe asks for; see its card.")
    network.load_state_dict(own | fitting)
    return kept_from(model.card)


def kept_from(card: dict[str, Any]) -> list[str]:
    """Heads that a model was never trained on: held out by the recipe, and by those of all models that it came from."""
    return card.get("held_out", card.get("recipe", {}).get("held_out", []))


def _fitted(key: str, old: Tensor | None, like: Tensor) -> Tensor | None:
    """Weights as they are, or with zeros for inputs that are new; None if they are those of something else."""
    if old is None or old.shape == like.shape:
        return old
    if key != FIRST or old[:, :1].shape != like[:, :1].shape or old.shape[1] > like.shape[1]:
        return None
    return torch.cat([old, torch.zeros_like(like[:, old.shape[1] :])], 1)
