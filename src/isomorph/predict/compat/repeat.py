"""Which rules a model is run by, and the network run as its incumbent runs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ...errors import SetupError
from ...io import Notice
from ...space import mirror
from ...volume import Volume
from ...weights import Model
from ..run import Ran, run
from .hyperfine import HYPERFINE
from .rules import RULES, Fed, Rules


def rules_of(model: Model, asked: str) -> Rules | None:
    """The rules of an incumbent if the model is to be run by them, else None.

    Parameters
    ----------
    model : Model
    asked : {"auto", "none", "freesurfer", "github"}
        ``auto`` is what the card of the model says. The network for Hyperfine pairs has rules of its own alone.

    Raises
    ------
    SetupError
        E906 if they are asked for and the model is not a converted one.
    """
    said = model.card.get("compat")
    if said == "hyperfine":
        return HYPERFINE
    if asked == "none" or (asked == "auto" and said is None):
        return None
    name = said if asked == "auto" else asked
    if said is None or name not in RULES:
        raise SetupError(
            f"E906 {model.card.get('name', 'this model')} does not follow the rules of SynthSR ({name}); "
            f"give weights made by `isomorph convert-weights`, or leave --compat out."
        )
    return RULES[name]


def passes(
    model: Model,
    fed: Fed,
    *,
    device: torch.device,
    precision: str,
    flip: bool,
    progress: Callable[[float], None] = lambda share: None,
    warn: Callable[[Notice], object],
) -> list[Ran]:
    """Raw output of the network for the image, and for its mirror image turned back if `flip`.

    Not averaged: FreeSurfer clips each of them first.
    """
    image = Volume(fed.image, np.eye(4))  # in RAS order: what is mirrored is the first axis

    def one(x: Volume, after: float) -> Ran:
        out = run(model.network, x, device=device, precision=precision, flip=False, warn=warn)
        progress(after)
        return out

    both = [one(image, 0.5 if flip else 1.0)]
    if flip:
        other = one(mirror(image), 1.0)
        both.append(other._replace(volume=mirror(other.volume)))
    return both
