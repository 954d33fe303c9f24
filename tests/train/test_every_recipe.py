"""Every recipe that ships is trained for a few steps, and gives a model that can be opened."""

import math

import pytest
from small import heads, segmenter, small

from isomorph import config
from isomorph.losses import OVERLAP
from isomorph.train.journal import entries
from isomorph.train.loop import train
from isomorph.weights import load_model


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """The segmentation network that some recipes look through."""
    return str(segmenter(tmp_path_factory.mktemp("segmenter")))


@pytest.mark.parametrize("name", config.names())
def test_each_recipe_trains(name, eyes, tmp_path):
    recipe = config.load(name)
    looks = recipe.kind == "synthesis" and any(stage.loss.keys() & OVERLAP for stage in recipe.training.stages)
    recipe = small(recipe, segmenter=eyes if looks else "")
    model = load_model(train(recipe, heads(), tmp_path, workers=0, report=lambda entry: None))
    losses = [entry["loss"] for entry in entries(tmp_path / "log.jsonl") if "loss" in entry]
    assert len(losses) == recipe.training.steps
    assert all(math.isfinite(loss) for loss in losses)
    assert all(math.isfinite(score) for score in model.card["scores"].values())
    assert len(model.card["scores"]) >= 1
    assert model.card["kind"] == recipe.kind
    assert ("segmenter" in model.card) == looks
    assert (tmp_path / "validation" / f"{recipe.training.steps:07d}.png").stat().st_size > 500
