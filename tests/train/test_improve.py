"""More minutes for a model: what is better is kept and written down, what is worse is not, and time is kept."""

import dataclasses
import json
import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file
from small import heads, small

from isomorph import config, load_model
from isomorph.errors import NothingFound, SetupError, UsageError
from isomorph.train import improve as improving
from isomorph.train import loop
from isomorph.train.check import check
from isomorph.train.improve import improve
from isomorph.train.journal import entries
from isomorph.train.loop import Run, train
from isomorph.train.record import HEADING
from isomorph.train.schedule import learning_rate
from isomorph.train.validate import DECIDES, validate

EASY = ["contrast.random=0.0", "contrast.tables=['T1']", "contrast.weights=[1.0]", "deform.size=[16, 16, 16]"]


def recipe(rate=1e-2, **training):
    stage = {"steps": 1, "learning_rate": rate, "set": EASY}
    settings = {"warmup": 3, "average": 0.9, "log_every": 1, "validate_every": 1000, "save_every": 1000}
    return small(
        "default", "network={kind='compact', arguments={inputs=2}}", stages=[stage], **{**settings, **training}
    )


@pytest.fixture
def corpus(tmp_path):
    """Prepared heads, as training finds them."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for head in heads():
        tensors = {"labels": head.labels.data} | ({"target": head.target.data} if head.target else {})
        place = {"affine": json.dumps(head.labels.affine.tolist())}
        save_file({key: x.contiguous() for key, x in tensors.items()}, folder / f"{head.name}.safetensors", place)
    return folder


@pytest.fixture
def model(tmp_path):
    """A network that has hardly learned anything."""
    return train(recipe(0.0), heads(), tmp_path / "first", workers=0, report=lambda entry: None)


@pytest.fixture
def clock(monkeypatch):
    """Each step takes two seconds, and nothing else takes any time."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    watch, real = Clock(), Run.advance

    def advance(self, batch):
        watch.now += 2
        real(self, batch)

    monkeypatch.setattr(loop, "time", watch)
    monkeypatch.setattr(Run, "advance", advance)
    return watch


@pytest.fixture
def run(monkeypatch, corpus, model, tmp_path):
    def run(plan, out="run", **options):
        monkeypatch.setattr(config, "load", lambda name, changes=(): plan)
        options = {"minutes": 2, "model": str(model), "record": tmp_path / "card.md"} | options
        return improve("default", corpus, tmp_path / out, workers=0, report=lambda entry: None, **options)

    return run


@pytest.mark.usefixtures("clock")
def test_what_is_better_takes_the_place_of_what_was_there(run, model, tmp_path):
    old = model.read_bytes()
    before = load_model(model)
    result = run(recipe())
    assert result.kept
    assert result.after > result.before
    assert result.error > 0
    assert (result.steps, result.minutes, result.stage) == (60, 2, 1)
    after = load_model(model)
    assert (tmp_path / "run" / "before.safetensors").read_bytes() == old
    assert after.sha256 != before.sha256 == after.card["start"]
    assert after.card["runs"] == [dataclasses.asdict(result)]
    assert after.card["scores"][DECIDES["synthesis"]] == result.after
    with pytest.raises(UsageError, match="is over, and its model was kept"):
        run(recipe(), resume=True)
    assert (after.card["steps"], after.card["held_out"]) == (before.card["steps"] + 60, ["held"])
    assert after.card["recipe"]["training"]["stages"][0]["steps"] == 1  # the recipe, and not what this run made of it
    assert after.card["recipe"]["training"]["minutes"] == 0
    again = run(recipe(), "again")
    seeds = [json.loads((tmp_path / out / "recipe.json").read_text())["training"]["seed"] for out in ("run", "again")]
    assert seeds[0] != seeds[1]  # other samples to learn from
    assert again.before == pytest.approx(result.after)  # the same samples
    assert len(load_model(model).card["runs"]) == 1 + again.kept


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("rate", [0.0, 3.0])
def test_what_is_not_better_is_not_kept(rate, run, model, tmp_path):
    """No step at all is not better; a mad one is worse."""
    run(recipe())
    trained = model.read_bytes()
    result = run(recipe(rate), "second", minutes=0.5)
    assert not result.kept
    assert result.after == result.before if rate == 0 else result.after < result.before
    assert model.read_bytes() == trained
    assert not (tmp_path / "second" / "before.safetensors").exists()
    assert "not kept" in result.line


@pytest.mark.usefixtures("clock")
def test_samples_are_others_after_a_run_that_was_not_kept_too(run, tmp_path):
    first, second = (run(recipe(0.0), out, minutes=0.1) for out in ("one", "two"))
    seeds = [json.loads((tmp_path / out / "recipe.json").read_text())["training"]["seed"] for out in ("one", "two")]
    assert len({0, *seeds}) == 3  # 0 is that of the training before
    assert first.before == second.before


@pytest.mark.usefixtures("clock")
def test_where_the_model_cannot_be_replaced_the_run_goes_on_later(run, model, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    old = model.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(improving, "save_model", full)
        with pytest.raises(SetupError, match=r"E703 model.safetensors cannot be written .*go on with --resume"):
            run(recipe())
    assert model.read_bytes() == old
    assert run(recipe(), resume=True).kept
    assert (tmp_path / "run" / "before.safetensors").read_bytes() == old
    assert model.read_bytes() != old
    monkeypatch.setattr(improving.os, "access", lambda *_: False)
    with pytest.raises(SetupError, match=r"E702 the folder of model.safetensors cannot be written"):
        run(recipe(), "second")
    assert not (tmp_path / "second").exists()


@pytest.mark.usefixtures("clock")
def test_what_another_run_has_put_there_meanwhile_must_be_beaten_too(run, model, monkeypatch):
    began = model.read_bytes()
    best = run(recipe(), "best")
    placed = model.read_bytes()
    model.write_bytes(began)

    def train_beside(*given, **options):
        made = train(*given, **options)
        model.write_bytes(placed)
        return made

    monkeypatch.setattr(improving, "train", train_beside)
    result = run(recipe(), minutes=0.1)
    assert result.before == pytest.approx(best.after)
    assert not result.kept
    assert model.read_bytes() == placed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "other"}, "name"),
        ({"network": {"kind": "compact", "arguments": {"inputs": 2, "features": [4, 16]}}}, "arguments"),
        ({"network": {"kind": "unet", "arguments": {"inputs": 2}}}, "network, arguments"),
    ],
)
def test_a_model_of_another_recipe_is_not_replaced(change, said, run, model, tmp_path):
    plan = dataclasses.replace(recipe(), **{k: v if k == "name" else config.Network(**v) for k, v in change.items()})
    with pytest.raises(UsageError, match=rf"model.safetensors differs from the recipe \w+ in its {said}; .*--start"):
        run(plan)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("clock")
def test_whom_the_model_may_know_is_told(model, monkeypatch, corpus, tmp_path):
    said = []
    plan = dataclasses.replace(recipe(), held_out=("held", "a"))
    monkeypatch.setattr(config, "load", lambda name, changes=(): plan)
    out = tmp_path / "run"
    improve("default", corpus, out, minutes=0.1, model=str(model), workers=0, report=said.append)
    assert {"note": "model.safetensors may have been trained on ['a'], who are held out here"} in said


@pytest.mark.usefixtures("clock")
def test_a_run_writes_into_its_own_folder_alone(run, monkeypatch, tmp_path):
    """A page beside which somebody happens to work is theirs."""
    page = tmp_path / "docs" / "model-cards" / "default.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Mine\n")
    monkeypatch.chdir(tmp_path)
    run(recipe(), minutes=0.1, record=None)
    assert page.read_text() == "# Mine\n"
    assert HEADING in (tmp_path / "run" / "card.md").read_text()


@pytest.mark.usefixtures("clock")
def test_scores_are_of_the_brain_whatever_else_weighs(model):
    weights = [
        dataclasses.replace(recipe(), training=dataclasses.replace(recipe().training, outside=x)) for x in (0.3, 1)
    ]
    held = [head for head in heads() if head.name == "held"]
    first, second = (validate(load_model(model).network, plan, held, Processor())[0] for plan in weights)
    assert first == second


class Processor:
    """In the place of accelerate."""

    device = torch.device("cpu")

    def autocast(self):
        return nullcontext()


@pytest.mark.usefixtures("clock")
def test_a_segmentation_is_judged_by_its_overlap(run, tmp_path):
    stage = {"steps": 1, "learning_rate": 1e-2, "loss": {"dice": 1.0}, "set": EASY}
    plan = small("segmenter", stages=[stage], warmup=3, average=0.9)
    zero = dataclasses.replace(plan.training.stages[0], learning_rate=0.0)
    plain = dataclasses.replace(plan, training=dataclasses.replace(plan.training, stages=(zero,)))
    first = train(plain, heads(), tmp_path / "labels", workers=0, report=lambda entry: None)
    result = run(plan, model=str(first))
    assert result.score == "validation_dice"
    assert result.kept


@pytest.mark.usefixtures("clock")
def test_every_run_is_written_down_at_the_end_of_its_table(run, tmp_path):
    card = tmp_path / "card.md"
    first = run(recipe(), minutes=0.1)
    card.write_text(card.read_text() + "\n## Limitations\n\n| many | |\n|---|---|\n| too | many |\n")
    second = run(recipe(0.0), "second", minutes=0.1)
    above, table, below = card.read_text().partition(HEADING)[0], *card.read_text().split(HEADING)[1].split("\n## ")
    assert above == "# Model card: default\n\n"
    assert below.startswith("Limitations\n\n| many")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert rows[0] == [field.name for field in dataclasses.fields(first)]
    for row, result in zip(rows[2:], (first, second), strict=True):
        said = dict(zip(rows[0], row, strict=True))
        assert (said["date"], said["device"], said["steps"]) == (result.date, result.device, str(result.steps))
        assert float(said["after"]) == pytest.approx(result.after, abs=1e-4)
        assert said["kept"] == ("yes" if result.kept else "no")


@pytest.mark.usefixtures("clock")
def test_the_rate_rises_with_the_steps_and_falls_with_the_clock(run, monkeypatch, tmp_path):
    rates = []
    real = loop.learning_rate

    def look(*given):
        rates.append(real(*given))
        return rates[-1]

    monkeypatch.setattr(loop, "learning_rate", look)
    run(recipe())
    assert len(rates) == 60
    assert rates[0] < rates[1] < rates[2]
    assert rates[30] == pytest.approx(1e-2 * (1 + 0.02) / 2, rel=0.05)
    assert rates[-1] == pytest.approx(1e-2 * 0.02, rel=0.3)
    assert all(a > b for a, b in pairwise(rates[3:]))
    told = [entry["minutes"] for entry in entries(tmp_path / "run" / "log.jsonl") if "minutes" in entry]
    assert told == pytest.approx([2 * k / 60 for k in range(1, 61)])


@pytest.mark.parametrize("minutes", [0.1, 1.99, 2.0, 2.01])
def test_the_time_is_kept_within_a_step(minutes, clock, tmp_path):
    plan = dataclasses.replace(recipe(), training=dataclasses.replace(recipe().training, minutes=minutes))
    train(plan, heads(), tmp_path / "run", workers=0, report=lambda entry: None)
    assert 60 * minutes <= clock.now < 60 * minutes + 2
    train(plan, heads(), tmp_path / "run", resume=True, workers=0, report=lambda entry: None)
    assert clock.now < 60 * minutes + 2  # nothing is left to do


def test_an_interrupted_run_has_the_minutes_that_are_left(clock, tmp_path):
    plan = recipe(minutes=1.0, save_every=10)
    train(plan, heads(), tmp_path / "run", workers=0, report=lambda entry: None)
    for path in (tmp_path / "run").glob("*0000030*"):
        path.unlink()
    clock.now = 1000.0
    train(plan, heads(), tmp_path / "run", resume=True, workers=0, report=lambda entry: None)
    assert clock.now == 1000 + 2 * 10  # 20 of 30 steps were saved


def test_the_rate_of_steps_is_as_it_was_without_a_clock():
    settings = config.load("default").training
    assert learning_rate(100, settings) == learning_rate(100, settings, passed=0.9)


def test_minutes_are_for_one_stage():
    two = dataclasses.replace(recipe().training, stages=recipe().training.stages * 2, minutes=1.0)
    with pytest.raises(UsageError, match=r"training.minutes is 1 with 2 stages; give a time above 0"):
        check(dataclasses.replace(recipe(), training=two))
    with pytest.raises(UsageError, match=r"training.minutes is -1 with 1 stages"):
        check(recipe(minutes=-1.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"minutes": 0.0}, UsageError, "0 minutes were given; give a time above 0"),
        ({"minutes": float("inf")}, UsageError, "inf minutes were given"),
        ({"stage": 0}, UsageError, "stage 0 was asked for, the recipe has stages 1 to 1"),
        ({"stage": 2}, UsageError, "stage 2 was asked for, the recipe has stages 1 to 1"),
        ({"model": "nobody"}, SetupError, "E904 no model called 'nobody'"),
    ],
)
def test_what_cannot_be_improved_is_refused_before_anything_starts(options, error, message, run, tmp_path):
    with pytest.raises(error, match=message):
        run(recipe(), **options)
    assert not (tmp_path / "run").exists()


def test_without_heads_held_out_nothing_says_what_is_better(run, model, tmp_path):
    with pytest.raises(UsageError, match="no head is held out"):
        run(dataclasses.replace(recipe(), held_out=()))
    with pytest.raises(NothingFound, match="holds no prepared heads"):
        improve("default", tmp_path, tmp_path / "run", minutes=1.0, model=str(model))
    with pytest.raises(NothingFound, match=r"no such folder: .*nowhere; check the path"):
        improve("default", tmp_path / "nowhere", tmp_path / "run", minutes=1.0, model=str(model))


ALONE = """
import sys
for name in ("nibabel", "nilearn", "ants", "matplotlib", "h5py", "scipy"):
    sys.modules[name] = None
from isomorph.cli import main
main()
"""


def test_it_runs_where_no_image_library_is(corpus, model, tmp_path):
    plan = recipe()
    changes = {
        "network": {"kind": "compact", "arguments": plan.network.arguments},
        "held_out": ["held"],
        "training.stages": [{"steps": 1, "set": EASY}],
        "training.precision": "fp32",
        "training.validate_samples": 1,
        "weights": {},
    }
    options = [f"--set={key}={toml(value)}" for key, value in changes.items()]
    command = ["improve", "default", "--data", corpus, "--out", tmp_path / "run", "--model", model]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, command), "--minutes=0.005", "--workers=0", "--threads=1", *options],
        capture_output=True, text=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("validation_psnr ")
    assert "| yes |" in (text := (tmp_path / "run" / "card.md").read_text()) or "| no |" in text


def toml(value):
    """A value as --set takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value) if not isinstance(value, list) else "[" + ", ".join(map(toml, value)) + "]"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("5 brain, 61 sub", "5 brain, 61 sub, 3 training_seg"),
        ("", "60 sub, 3 training_seg"),
        ("scans of one hospital, 61 sub", "61 sub, 3 training_seg, scans of one hospital"),
        ("unknown", "60 sub, 3 training_seg, unknown"),
    ],
)
def test_whatever_a_card_says_of_its_data_is_kept(before, after):
    assert improving._most(before, "60 sub, 3 training_seg") == after
    assert improving._most(after, "60 sub, 3 training_seg") == after
