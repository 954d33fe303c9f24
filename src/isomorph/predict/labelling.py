"""Which networks give labels, whether they say what each of their outputs stands for, and what that is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import SetupError
from ..labels import LABELS, swap_sides
from ..weights import Model

NAMED = {number for number, label in LABELS.items() if label.side != "right" and number < 256}  # which uint8 holds


@dataclass(frozen=True)
class Classes:
    """What the outputs of a network stand for: numbers of `isomorph.labels`."""

    left: list[int]  # of each class, on the left or in the middle
    right: list[int]

    @classmethod
    def of(cls, model: Model) -> Classes:
        """Those of a model that `gives_labels`."""
        left = [int(number) for number in model.card["labels"]]
        return cls(left, swap_sides(torch.tensor(left)).tolist())

    @property
    def paired(self) -> list[int]:
        """Indices of the classes that have two sides."""
        return [k for k, pair in enumerate(zip(self.left, self.right, strict=True)) if pair[0] != pair[1]]

    @property
    def names(self) -> set[str]:
        """Of all structures, on both sides."""
        return {LABELS[number].name for number in (*self.left, *self.right) if number}


def gives_labels(model: Model, told: str, *, fits: bool) -> Model:
    """The same model, if it gives labels, and its card says what each output stands for.

    Parameters
    ----------
    model : Model
    told : str
        What is wrong with one for something else, and what to do.
    fits : bool
        Whether all else that is asked of it is there.

    Raises
    ------
    SetupError
        E906 if it is for something else; E903 if its card does not say what it should.
    """
    name, numbers = model.card.get("name", "this model"), model.card.get("labels")
    if model.card.get("kind", "synthesis") != "segmentation" or not fits:
        raise SetupError(f"E906 {name} {told}.")
    if not isinstance(numbers, list | tuple) or 0 not in numbers or not set(numbers) <= NAMED:
        raise SetupError(f"E903 {name} does not say which structures it tells apart; fetch it again.")
    if (outputs := getattr(model.network, "outputs", len(numbers))) != len(numbers):
        raise SetupError(f"E903 {name} gives {outputs} outputs and names {len(numbers)} structures; fetch it again.")
    return model
