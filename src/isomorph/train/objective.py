"""What is minimised: the weighted losses of a stage, some of them seen through a frozen segmentation network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..config import Recipe, Stage
from ..errors import UsageError
from ..losses import LOSSES, OVERLAP, WHOLE
from ..structures import class_map
from ..weights import Model, load_model
from .source import Batch


class Objective:
    """Losses of a recipe [1]_.

    Parameters
    ----------
    recipe : Recipe
    device : torch.device
    autocast : function that opens the precision of the network, in which the segmenter runs too

    Raises
    ------
    UsageError
        If the segmenter of the recipe is another kind of model.

    References
    ----------
    .. [1] Iglesias et al., Science Advances 2023, doi:10.1126/sciadv.add3607
    """

    def __init__(
        self, recipe: Recipe, device: torch.device, autocast: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self.segments, self.autocast = recipe.kind == "segmentation", autocast
        self.classes = recipe.classes
        self.segmenter: nn.Module | None = None
        self.sha256 = ""
        if not self.segments and any(stage.loss.keys() & OVERLAP for stage in recipe.training.stages):
            model = _segmenter(recipe.training.segmenter)
            self.classes, self.sha256 = tuple(model.card["labels"]), model.sha256
            self.segmenter = model.network.to(device).requires_grad_(False)

    def __call__(self, stage: Stage, prediction: Tensor, batch: Batch) -> Tensor:
        """The weighted sum of the losses of a stage.

        Parameters
        ----------
        stage : Stage
        prediction : (N, outputs, I, J, K) tensor
            As the network gives it.
        batch : Batch
            On the device of the network.
        """
        prediction = prediction.float()
        image = prediction[:, : batch.target.shape[1]]
        total = prediction.new_zeros(())
        if stage.loss.keys() & OVERLAP:
            logits = prediction if self.segmenter is None else self.look(image)
            number, known = class_map(batch.labels, self.classes)
        for name, share in stage.loss.items():
            if name in OVERLAP:
                total = total + share * LOSSES[name](logits, number, known)  # pyright: ignore[reportPossiblyUnboundVariable]
            else:
                seen = prediction if name in WHOLE else image
                total = total + share * LOSSES[name](seen, batch.target, batch.weight)
        return total

    def look(self, image: Tensor) -> Tensor:
        """What the segmenter sees in an image whose white matter is 1; the gradient passes, the segmenter stays."""
        assert self.segmenter is not None
        with self.autocast():
            return self.segmenter(image).float()


def _segmenter(path: str) -> Model:
    model = load_model(path)
    if model.card.get("kind") != "segmentation":
        raise UsageError(
            f"training.segmenter is {model.card['name']}, which gives no labels; train the recipe segmenter."
        )
    return model
