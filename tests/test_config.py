import json

import pytest

from isomorph import config
from isomorph.errors import UsageError
from isomorph.synth import Generator


def test_configuration_survives_the_round_trip():
    recipe = config.load("default")
    assert config.from_dict(json.loads(json.dumps(config.to_dict(recipe)))) == recipe


def test_defaults_live_in_the_dataclasses_alone():
    assert config.from_dict({"name": "x"}).generator == Generator()


def test_overrides_are_dotted():
    recipe = config.load("default", ("training.clip=1e-5", "generator.slices.spacing=[1, 9]"))
    assert recipe.training.clip == 1e-5
    assert recipe.generator.corruptions[2].spacing == (1, 9)


def test_a_stage_overrides_the_generator():
    recipe = config.load("default")
    first, last = (config.stage_generator(recipe, recipe.training.stages[k]) for k in (0, -1))
    assert first.contrast.random < last.contrast.random
    assert last == recipe.generator


@pytest.mark.parametrize("name", config.names())
def test_each_recipe_that_ships_can_be_built_whole(name):
    recipe = config.load(name)
    assert recipe.name
    for stage in recipe.training.stages:
        config.stage_generator(recipe, stage)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generator.gamma.exponnent=[1, 2]", r"gamma has no option \['exponnent'\]; choose from \['exponent'\]"),
        ("generator.gama.exponent=[1, 2]", r"Unknown generator sections \['gama'\]"),
        ("generator.gamma.exponent='wide'", r"gamma.exponent: .* got 'wide'"),
        ("network.kind='transformer'", r"Unknown network 'transformer'; choose from"),
        ("training.clip", r"not of the form dotted.key=value"),
        ("training.stages=[{steps=1, loss={l3=1.0}}]", r"Unknown loss \['l3'\]"),
        ("training.stages=[{steps=1, set=['gamma.exponnent=1']}]", r"gamma has no option"),
        ("training.precision='int4'", r"Unknown precision"),
        ("generator.noise.sigma=[0, 0.1]", r"would do nothing; add them to generator.order"),
        ("generator.slices.spacing=[7, 2]", r"spacing runs from 7.* to 2"),
        ("generator.contrast.weights=[1.0]", r"5 tables want as many weights"),
        ("generator.contrast.tables=['T7']", r"no contrast called"),
        ("network.arguments={width=3}", r"network cascade does not take"),
        ("name.x=1", r"name is a value, not a section"),
        ("network.kind=compact", r"put text in quotes"),
    ],
)
def test_a_mistake_is_named_with_its_alternatives(override, message):
    with pytest.raises(UsageError, match=message):
        config.load("default", (override,))


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(UsageError, match=r"choose from .*default"):
        config.load("defualt")


def test_broken_toml_is_one_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = [")
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a = " + b"[" * 20_000, b"x" * (1 << 21)])
def test_hostile_recipes_are_one_line(tmp_path, content):
    path = tmp_path / "hostile.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert "\n" not in str(caught.value)
