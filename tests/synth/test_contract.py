"""What every step promises. A new step inherits these tests by being registered."""

import json
from dataclasses import fields
from inspect import signature

import numpy as np
import pytest
import torch

from isomorph.synth import ANATOMY, CONTRASTS, CORRUPTIONS
from isomorph.synth.pathology.grow import KINDS
from isomorph.synth.slices import Slices

LABELLED = [*ANATOMY.items(), *CONTRASTS.items()]  # these want a label map
ALL = [*LABELLED, *CORRUPTIONS.items()]


# What is rare, or off by default, must happen for the promises to mean anything.
OFTEN = {
    "strip": {"stripped": 0.5, "leftover": 0.5, "bitten": 0.5, "defaced": 0.5},
    "pathology": dict.fromkeys(("carried", *KINDS), 0.4),
}


@pytest.fixture(params=ALL, ids=lambda item: item[0])
def step(request):
    name, cls = request.param
    share = {"share": 0.7} if "share" in {field.name for field in fields(cls)} else {}
    return cls(**OFTEN.get(name, share))


@pytest.fixture
def given(step, head, image):
    return head if type(step) in dict(LABELLED).values() else image


def apply(step, x, draw):
    return step.effect(x, **draw, **({"mode": "nearest"} if "mode" in signature(step.effect).parameters else {}))


def test_draw_is_a_small_piece_of_json(step, rng):
    draw = step.draw(rng)
    assert json.loads(json.dumps(draw, allow_nan=False)) == draw
    assert len(json.dumps(draw)) < 4000


def test_same_draw_same_image_whatever_the_global_seed(step, given, rng):
    draw = step.draw(rng)
    torch.manual_seed(1)
    first = apply(step, given, draw).data
    torch.manual_seed(2)
    assert torch.equal(first, apply(step, given, draw).data)


def test_every_drawn_number_varies(step, rng):
    draws = [step.draw(rng) for _ in range(60)]
    for name in draws[0]:
        if type(step).__name__ != "Deform" or name not in {"size", "spacing"}:  # a choice of the recipe, not of chance
            assert len({json.dumps(draw[name]) for draw in draws}) > 1, f"{name} is always {draws[0][name]}"


def test_other_draw_other_image(step, given, rng):
    images = [apply(step, given, step.draw(rng)).data for _ in range(12)]
    assert any(not torch.equal(images[0], other) for other in images[1:])


def test_keeps_the_grid_and_stays_finite(step, given, rng):
    y = apply(step, given, step.draw(rng))
    assert y.data.isfinite().all()
    if isinstance(step, Slices):  # what is acquired has a grid of its own, in the same directions and the same place
        return inside(y, given)
    assert y.shape == given.shape
    assert (y.affine == given.affine).all()


def inside(y, given):
    move = np.linalg.inv(given.affine) @ y.affine
    assert np.count_nonzero(move[:3, :3]) == 3
    for index in ((0, 0, 0), np.array(y.shape) - 1):
        where = (move @ [*index, 1])[:3]
        assert (where >= -1e-6).all()
        assert (where <= np.array(given.shape)).all()


def test_leaves_its_input_untouched(step, given, rng):
    before = given.data.clone()
    apply(step, given, step.draw(rng))
    assert torch.equal(before, given.data)


def test_documents_every_parameter_and_cites(step):
    doc = step.effect.__doc__
    for name in signature(step.effect).parameters:
        assert name in doc.split("References")[0], f"{step.effect.__name__}: {name} is undocumented"
    assert "References" in doc
    assert type(step).__doc__
