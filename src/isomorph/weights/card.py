"""What a model file says of itself: read strictly, for it may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import SetupError

AGAIN = "; fetch it again, or update isomorph."
KEY = "isomorph"  # the metadata entry that holds the card
REQUIRED = {"name", "network", "arguments", "white_matter", "licence", "data"}
NUMBERS = {"F16", "BF16", "F32", "F64"}  # that tensors may hold; counters of batch norm are not stored
# What is read somewhere, and as what; a list stands for each of its entries.
FORM = {
    "name": str, "kind": str, "network": str, "licence": str, "compat": str, "target": int | str, "reliability": bool,
    "arguments": {"inputs": int, "scans": int}, "residual": [int], "labels": [int],
    "white_matter": int | float, "steps": int | float, "hours": int | float, "held_out": [str], "runs": [dict],
    "recipe": {
        "held_out": [str],
        "generator": {"contrast": {"kind": str}, "channels": list | None},
        "training": {"stages": [{"loss": dict}]},
    },
}  # fmt: skip


def card_of(content: bytes, path: Path) -> dict[str, Any]:
    """The card of a model.

    Parameters
    ----------
    content : bytes
        Of its file, the header at least.
    path : Path
        For what is told.

    Raises
    ------
    SetupError
        E902 if the header is damaged or not one of ours; E903 if the card is incomplete, an entry is of another type
        than what reads it expects, or a tensor holds other numbers than networks do.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        if not 0 < size <= len(content) - 8:
            raise ValueError("header length")
        header = json.loads(content[8 : 8 + size], object_pairs_hook=_unique)
        card = json.loads(header["__metadata__"][KEY])
        odd = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} - NUMBERS
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SetupError(f"E902 {path.name} is damaged or not an isomorph model ({error}); fetch it again.") from None
    missing = REQUIRED - (card.keys() if isinstance(card, dict) else set())
    if missing:
        raise SetupError(f"E903 {path.name} has no {sorted(missing)} in its card; fetch it again.")
    if wrong := _misfit(card, FORM, "card"):
        raise SetupError(f"E903 {path.name} has a card that does not fit: {wrong}{AGAIN}")
    if not 0 < card["white_matter"] < float("inf"):
        raise SetupError(f"E903 {path.name} puts white matter at {card['white_matter']}, a positive number is needed.")
    if odd:
        raise SetupError(f"E903 {path.name} holds numbers of type {min(odd)}, not one of {sorted(NUMBERS)}{AGAIN}")
    return card


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key appears twice")
    return table


def _misfit(value: Any, form: Any, name: str) -> str:
    """The first entry that is of another type than `form` says; empty where all is well."""
    kind = type(form) if isinstance(form, dict | list) else form
    if not isinstance(value, kind):
        return f"{name} is of type {type(value).__name__}, not {getattr(kind, '__name__', kind)}"
    inside: list[tuple[Any, Any, str]] = []
    if isinstance(form, dict):
        inside = [(entry, form.get(key, object), key) for key, entry in value.items()]
    elif isinstance(form, list):
        inside = [(entry, form[0], f"an entry of {name}") for entry in value]
    return next(filter(None, (_misfit(*each) for each in inside)), "")


def sharpens(card: dict[str, Any]) -> bool:
    """Whether a model gives not a T1 but the (first) scan, sharpened, in its own contrast: its target was the scan.

    Parameters
    ----------
    card : dict
    """
    return isinstance(card.get("target"), int)


def tomographic(card: dict[str, Any]) -> bool:
    """Whether a model was trained on CT alone, in Hounsfield units.

    Parameters
    ----------
    card : dict
    """
    return samples_of(card).get("contrast", {}).get("kind") == "hounsfield"


def scans_of(card: dict[str, Any]) -> int:
    """How many scans a network takes at once.

    Parameters
    ----------
    card : dict
    """
    inputs = card.get("arguments", {}).get("inputs", 1)
    return inputs // (2 if card.get("reliability") else 1) if isinstance(inputs, int) else 1


def purpose(card: dict[str, Any]) -> str:
    """What a model takes and gives, in a few words.

    Parameters
    ----------
    card : dict
    """
    if labels := card.get("labels"):
        return "lesions of a scan" if card.get("kind") == "segmentation" and len(labels) == 2 else "structures of a T1"
    count = scans_of(card)
    several = f"{'up to ' if samples_of(card).get('dropout') else ''}{count} MR scans of one exam"
    scans = "a CT" if tomographic(card) else "an MR scan" if count < 2 else several
    return f"{scans}, sharpened" if sharpens(card) else f"a T1 of {scans}"


def samples_of(card: dict[str, Any]) -> dict[str, Any]:
    """What the recipe of a model says of its training samples: its table ``generator``; empty where there is none.

    Parameters
    ----------
    card : dict
    """
    return card.get("recipe", {}).get("generator", {})
