"""Which networks give labels, and whether they say what each of their outputs stands for."""

from __future__ import annotations

from ..errors import SetupError
from ..labels import LABELS
from ..weights import Model

NAMED = {number for number, label in LABELS.items() if label.side != "right" and number < 256}  # which uint8 holds


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
