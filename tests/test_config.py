import dataclasses
import json

import pytest

from isomorph import config
from isomorph.errors import UsageError
from isomorph.synth import CONTRASTS, Generator


def test_configuration_survives_the_round_trip():
    recipe = config.load("default")
    assert config.from_dict(json.loads(json.dumps(config.to_dict(recipe)))) == recipe


def test_defaults_live_in_the_dataclasses_alone():
    assert config.from_dict({"name": "x"}).generator == Generator()


def test_overrides_are_dotted():
    recipe = config.load("default", ("training.clip=1e-5", "generator.slices.spacing=[1, 9]"))
    assert recipe.training.clip == 1e-5
    assert recipe.generator.channels[0].corruptions[2].spacing == (1, 9)


SECOND = "{contrast={tables=['T2'], weights=[1.0]}, slices={thick=1.0, blurred=0.0}}"
CHANNELS = f"generator.channels=[{{}}, {SECOND}, {{order=['bias']}}]"


def test_channels_differ_in_what_they_say_and_share_the_rest():
    recipe = config.load("default", (CHANNELS, "generator.slices.noise=[0, 0.2]", "generator.dropout=0.5"))
    first, second, third = recipe.generator.channels
    assert first.contrast.tables != second.contrast.tables == ("T2",)
    assert first.contrast.random == second.contrast.random == 0.1
    assert first.corruptions[2].noise == second.corruptions[2].noise == (0, 0.2)
    assert second.corruptions[2].thick == 1.0
    assert len(third.corruptions) == 1
    assert config.from_dict(json.loads(json.dumps(config.to_dict(recipe)))) == recipe


def test_one_channel_can_be_changed_by_its_number():
    recipe = config.load("default", (CHANNELS, "generator.channels.1.slices.spacing=[6, 6]"))
    assert recipe.generator.channels[1].corruptions[2].spacing == (6, 6)
    assert recipe.generator.channels[0].corruptions[2].spacing == (2, 9)
    stage = dataclasses.replace(
        recipe.training.stages[0], set=("channels.1.slices.noise=[0, 0.3]", "bias.strength=[0, 1]")
    )
    first, second, _ = config.stage_generator(recipe, stage).channels
    assert second.corruptions[2].noise == (0, 0.3) != first.corruptions[2].noise
    assert first.corruptions[0].strength == second.corruptions[0].strength == (0, 1)


def test_a_contrast_of_another_kind_begins_anew():
    recipe = config.load("default", ("generator.channels=[{}, {contrast={kind='physics'}}]",))
    assert recipe.generator.channels[1].contrast == CONTRASTS["physics"]()
    assert config.from_dict(config.to_dict(recipe)) == recipe


def test_a_stage_overrides_the_generator():
    recipe = config.load("default")
    sharp, first, last = (config.stage_generator(recipe, stage) for stage in recipe.training.stages)
    assert (sharp.target, last.target) == (0, "T1")
    assert first.deform.spacing > last.deform.spacing
    assert first.channels[0].corruptions[0].strength < last.channels[0].corruptions[0].strength
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
        ("training.precisoin='fp32'", r"training has no option \['precisoin'\]; choose from .*'precision'"),
        ("training.stages=[{steps=1, bach=2}]", r"training.stages has no option \['bach'\]; choose from \['batch'"),
        ("network.args={}", r"network has no option \['args'\]; choose from \['arguments'"),
        ("generator.noise.sigma=[0, 0.1]", r"would do nothing; add them to generator.order"),
        ("generator.slices.spacing=[7, 2]", r"spacing runs from 7.* to 2"),
        ("generator.contrast.weights=[1.0]", r"6 tables want as many weights"),
        ("generator.contrast.tables=['T7']", r"no contrast called"),
        ("network.arguments={width=3}", r"network cascade does not take"),
        ("network.arguments={coarse={}}", r"network cascade does not take"),
        ("name.x=1", r"name is a value, not a section"),
        ("network.kind=compact", r"put text in quotes"),
        ("generator.channels=[{slises={}}]", r"Unknown sections of a channel \['slises'\]"),
        ("generator.channels=[{noise={sigma=[0, 1]}}]", r"would do nothing"),
        ("generator.channels=[1]", r"list of tables"),
        ("generator.channels={}", r"list of tables"),
        ("generator.target=1", r"target is channel 1, and there are 1"),
        ("generator.target='T9'", r"no contrast called 'T9'"),
        ("generator.reliability='maybe'", r"generator.reliability: .* got 'maybe'"),
    ],
)
def test_a_mistake_is_named_with_its_alternatives(override, message):
    with pytest.raises(UsageError, match=message):
        config.load("default", (override,))


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(UsageError, match=r"choose from .*default"):
        config.load("defualt")


def test_a_mark_before_the_text_is_passed_over(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_text('name = "mine"\n', encoding="utf-8-sig")
    assert config.load(str(path)).name == "mine"


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
