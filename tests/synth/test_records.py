"""What a recipe records: every random number in it varies, and following it again gives the same sample."""

import dataclasses
import json
import re
from random import Random

import pytest
import torch

from isomorph import config
from isomorph.synth import ANATOMY, CONTRASTS, CORRUPTIONS, Motion
from isomorph.synth.artefacts.ghosting import Ghosting
from isomorph.synth.gamma import Gamma
from isomorph.synth.gantry import Gantry
from isomorph.synth.generator import Generator
from isomorph.synth.measured import Measured
from isomorph.synth.mixture import Mixture
from isomorph.synth.pathology import Pathology
from isomorph.synth.pathology.grow import KINDS
from isomorph.synth.slices import Slices
from isomorph.synth.step import Counts, Range
from isomorph.synth.tables import prior_table
from isomorph.synth.window import Window

STEPS = {**ANATOMY, **CONTRASTS, **CORRUPTIONS, "motion": Motion}
OFTEN = {  # what is rare, or off, must happen to be seen
    "strip": {"stripped": 0.5, "leftover": 0.5, "bitten": 0.5, "defaced": 0.5},
    "pathology": dict.fromkeys(("carried", *KINDS), 0.7),
    "measured": {k: v for k, v in prior_table("T2").items() if k in ("means", "stds")},
    "gantry": {"thickness": (2.0, 5.0)},
}
# Chosen by whoever writes the recipe, or given by nature: air is black.
CHOSEN = {
    "deform": {"size/.", "spacing"},
    "mixture": {"stds/air"},
    "measured": {"(means|stds)/air"},
    "physics": {"pd/air"},
    "lowfield": {"pd/air"},
    "hounsfield": {"(means|stds)/air"},
    "pathology": {".*/(kind|home)", "sclerosis/size/.", "lacunes/size/.", "resection/push"},
}
UNASKED = {"own", "kept/.", "strip/face", "strip/remnants"}  # effects that no recipe asks for, or that all ask for
# Fixed by the protocol that a recipe follows.
PROTOCOL = {
    "2021": {
        "corruptions/2/(spacing|thickness)/.",
        "corruptions/0/strength",
        "deform/(velocity|nodes)",
        "strip/margin",
    },
    "ct": {"corruptions/1/gain"},
    "hyperfine": {"corruptions/2/(spacing|thickness)/2", "contrast/sequence"},
}


def leaves(table, path=""):
    """Every single number or word of a draw, under the path that leads to it; lesions under their kind."""
    for key, value in table.items() if isinstance(table, dict) else enumerate(table):
        name = value["kind"] if isinstance(value, dict) and "kind" in value else key
        if isinstance(value, dict | list):
            yield from leaves(value, f"{path}{name}/")
        elif value is not None:  # what does not happen has no numbers
            yield f"{path}{name}", value


def constants(draws):
    """Paths that never hold but one value."""
    seen = {}
    for draw in draws:
        for path, value in leaves(draw):
            seen.setdefault(path.removeprefix("grown/"), []).append(value)
    return {path for path, values in seen.items() if len(values) > 5 and len(set(values)) == 1}


@pytest.mark.parametrize("name", STEPS)
def test_every_number_of_a_step_varies(name):
    options = {"share": 0.7} if "share" in STEPS[name].__dataclass_fields__ else {}
    rng = Random(0)
    step = STEPS[name](**options | OFTEN.get(name, {}))
    still = constants([step.draw(rng) for _ in range(100)])
    assert not {path for path in still if not any(re.fullmatch(said, path) for said in CHOSEN.get(name, ()))}


@pytest.mark.parametrize("name", config.names())
def test_every_number_of_a_recipe_varies_but_what_its_protocol_fixes(name):
    generator = config.load(name).generator
    still = constants([generator.draw(Random(seed)) for seed in range(60)])
    fixed = {said for many in CHOSEN.values() for said in many} | UNASKED
    fixed |= {said for protocol, many in PROTOCOL.items() if protocol in name for said in many}
    strange = {path for path in still if not any(re.fullmatch(f"(.*/)?{said}", path) for said in fixed)}
    assert not strange


@pytest.mark.parametrize("name", config.names())
def test_a_recipe_that_is_followed_again_gives_the_same_sample(name, head):
    changes = ("generator.deform.size=[24, 24, 24]", "generator.deform.spacing=1.0")
    generator = config.load(name, changes).generator
    masks = head.with_data((head.data == 2).to(torch.uint8) * 255)
    first = generator(head, None, 3, masks)
    again = generator.replay(head, None, json.loads(json.dumps(first.recipe, allow_nan=False)), masks)
    for one, other in zip(first[:3], again[:3], strict=True):
        assert torch.equal(one.data, other.data)
    other = generator(head, None, 4, masks)
    assert not torch.equal(first.image.data, other.image.data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pathology(lacunes_count=(3, 1)), "lacunes_count runs from 3 to 1; give the lower bound first"),
        (lambda: Ghosting(count=(-1, 2)), "count begins at -1; give a number of 0 or more"),
        (lambda: Gantry(thickness=(5.0, 2.0)), "thickness runs from 5.0 to 2.0"),
        (lambda: Window(gain=(0.0, 1.3)), "gain begins at 0.0, which has no logarithm; give bounds above 0"),
        (lambda: Mixture(surface=(-1.0, 1.3)), "surface begins at -1.0, which has no logarithm"),
        (lambda: Pathology(sclerosis_load=(0.0, 3.0)), "sclerosis_load begins at 0.0, which has no logarithm"),
        (lambda: Pathology(tumour=1.5), "tumour is 1.5, which is no share; give a number from 0 to 1"),
        (lambda: Slices(thick=-0.1), "thick is -0.1, which is no share"),
        (lambda: Generator(dropout=2.0), "dropout is 2.0, which is no share"),
        (lambda: Measured(other=(1.0, 0.0)), "other runs from 1.0 to 0.0"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_bounds_are_checked_where_annotations_are_types_and_not_words():
    """A module of somebody else need not import `annotations` from `__future__`."""
    fields = [("spacing", Range, (2.0, 1.0)), ("count", Counts | None, None)]
    made = dataclasses.make_dataclass("Mine", fields, bases=(Gamma,), frozen=True, kw_only=True)
    with pytest.raises(ValueError, match=r"spacing runs from 2\.0 to 1\.0"):
        made()
    with pytest.raises(ValueError, match="count begins at -1"):
        made(spacing=(1.0, 2.0), count=(-1, 2))


def test_bounds_of_nothing_and_of_one_value_are_fine():
    assert Pathology(lacunes_count=(0, 0)).lacunes_count == (0, 0)
    assert Gamma(exponent=(1.0, 1.0)).draw(Random(0)) == {"exponent": 1.0}
    assert Slices(thickness=None).thickness is None
