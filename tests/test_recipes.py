"""The recipes of the papers say what the papers say."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from isomorph import config
from isomorph.nets import build
from isomorph.synth.slices import Slices
from isomorph.train.begin import begin_with

FOLDER = Path(config.__file__).parent / "recipes"
PAPER = ["sr-2021-3mm", "sr-2021-5mm", "sr-2021-7mm", "flair-2021", "exam-2021"]
PROTOCOLS = {  # orientation, spacing, thickness of each channel, mm
    "sr-2021-3mm": [("coronal", 3, 3)], "sr-2021-5mm": [("coronal", 5, 3)], "sr-2021-7mm": [("coronal", 7, 3)],
    "flair-2021": [("axial", 5, 5)],
    "exam-2021": [None, ("sagittal", 5, 4), ("axial", 6, 5), ("axial", 6, 5)],
    "hyperfine": [("axial", 5, None), ("axial", 5, None)],
}  # fmt: skip


@pytest.mark.parametrize("name", PAPER)
def test_table_1_of_the_2021_paper(name):
    generator = config.load(name).generator
    deform = generator.deform
    assert deform.rotation == 10
    assert [math.exp(bound) for bound in deform.scale] == pytest.approx([0.9, 1.1], abs=1e-4)
    assert deform.shear == 0.01
    assert deform.velocity == (3, 3)
    assert {1 + round(side / nodes) for side in deform.size for nodes in deform.nodes} == {10}
    for channel in generator.channels:
        steps = {type(step).__name__: step for step in channel.corruptions}
        assert steps["Gamma"].exponent == (0.7, 1.3)
        assert steps["Bias"].strength == (0.5, 0.5)
        assert {1 + round(side / mm) for side in deform.size for mm in steps["Bias"].spacing} == {4}
        assert steps["Slices"].alpha == (0.8, 1.2)
        assert channel.motion.rotation == 10
        assert channel.motion.translation == 20
        assert channel.motion.error_rotation == 0.3
        assert channel.motion.error_translation == 0.3
    assert generator.reliability


@pytest.mark.parametrize(("name", "channels"), PROTOCOLS.items())
def test_protocols(name, channels):
    generator = config.load(name).generator
    assert len(generator.channels) == len(channels)
    for channel, wanted in zip(generator.channels, channels, strict=True):
        (slices,) = (step for step in channel.corruptions if isinstance(step, Slices))
        if wanted:
            orientation, spacing, thickness = wanted
            assert (slices.thick, slices.orientation, slices.spacing) == (1, orientation, (spacing, spacing))
            assert slices.thickness == (thickness and (thickness, thickness))
        else:
            assert (slices.thick, slices.blurred, slices.isotropic) == (0, 1, (1.6, 1.6))


@pytest.mark.parametrize("name", config.names())
def test_the_network_reads_what_the_generator_gives(name):
    recipe = config.load(name)
    images = len(recipe.generator.channels) * (2 if recipe.generator.reliability else 1)
    assert recipe.network.arguments.get("inputs", 1) == images


@pytest.mark.parametrize("name", config.names())
def test_a_recipe_begins_with_what_it_is_for(name):
    text = (FOLDER / f"{name}.toml").read_text()
    assert text.startswith("# ")
    assert re.search(rf'^name = "{name}"$', text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in config.names() if config.load(name).start])
def test_a_recipe_fits_the_model_it_goes_on_from(name):
    recipe = config.load(name)
    begin_with(build(recipe.network.kind, recipe.network.arguments), recipe.start)


@pytest.mark.parametrize(("name", "scans"), [("ct", 1), ("lowfield", 1), ("exam", 3)])
def test_what_goes_on_from_the_default_model_has_its_network_and_holds_out_its_people(name, scans):
    recipe, default = config.load(name), config.load("default")
    arguments = default.network.arguments | {"inputs": 2 * scans, "scans": scans}
    assert recipe.network == replace(default.network, arguments=arguments)
    assert recipe.held_out == default.held_out
    assert recipe.start == "default"
    assert (recipe.generator.leads, recipe.generator.dropout > 0) == (scans > 1, scans > 1)
