import json
import multiprocessing
import os
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isomorph import config
from isomorph.errors import IsomorphError, NothingFound, SetupError, UsageError
from isomorph.interrupt import Interrupted
from isomorph.train import corpus
from isomorph.train.brightness import tissue_levels
from isomorph.train.corpus import Head
from isomorph.train.loop import train
from isomorph.train.schedule import learning_rate, update
from isomorph.train.source import Samples, split
from isomorph.volume import Volume
from isomorph.weights import load_model

TINY = (
    "generator.deform.size=[16, 16, 16]",
    "network={kind='compact', arguments={inputs=2, features=[4, 8]}}",
    "training.stages=[{steps=4}, {steps=2, set=['contrast.random=1.0']}]",
    "training.save_every=3",
    "training.precision='fp32'",
    "held_out=['c']",
)


@pytest.fixture
def heads():
    labels = torch.zeros(1, 20, 22, 24)
    labels[:, 3:17, 3:19, 3:21] = 3
    labels[:, 6:14, 6:16, 6:18] = 2
    return [Head(name, Volume(labels.roll(k, 1), np.eye(4)), None) for k, name in enumerate("abc")]


def silent(entry):
    pass


def test_resumed_training_equals_uninterrupted_training(heads, tmp_path):
    recipe = config.load("default", TINY)
    train(recipe, heads, tmp_path / "whole", workers=0, report=silent)
    train(recipe, heads, tmp_path / "parts", workers=0, report=silent)
    # Forget the second half, as a kill after the third step would.
    for path in (tmp_path / "parts").glob("*0000006*"):
        path.unlink()
    (tmp_path / "parts" / "model.safetensors").unlink()
    train(recipe, heads, tmp_path / "parts", resume=True, workers=0, report=silent)
    whole, parts = (load_file(tmp_path / d / "model.safetensors") for d in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_damaged_checkpoint_is_passed_over(heads, tmp_path):
    recipe = config.load("default", TINY)
    train(recipe, heads, tmp_path, workers=0, report=silent)
    whole = load_file(tmp_path / "model.safetensors")
    newest = sorted(tmp_path.glob("checkpoint-*.safetensors"))[-1]
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    train(recipe, heads, tmp_path, resume=True, workers=0, report=silent)
    again = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_the_model_file_says_how_it_was_made(heads, tmp_path):
    model = load_model(train(config.load("default", TINY), heads, tmp_path, workers=0, report=silent))
    assert config.from_dict(model.card["recipe"]) == config.load("default", TINY)
    assert model.card["steps"] == 6
    assert np.isfinite(model.card["scores"]["validation_psnr"])
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) >= 1


def test_training_lowers_the_loss(heads, tmp_path):
    stages = "training.stages=[{steps=150, learning_rate=3e-3}]"
    entries = []
    options = (*TINY[:2], stages, *TINY[4:], "training.warmup=5")
    train(config.load("default", options), heads, tmp_path, workers=0, report=entries.append)
    losses = [e["loss"] for e in entries if "loss" in e]
    assert losses[-1] < 0.7 * losses[0]


def test_sample_number_n_does_not_depend_on_where_one_began(heads):
    recipe = config.load("default", TINY)
    first, second = Samples(recipe, heads), Samples(recipe, heads, start=3)
    assert torch.equal(list(first)[3][0], next(iter(second))[0])


def test_a_batch_is_what_its_stage_asks_for(heads):
    recipe = config.load("default", (*TINY, "training.stages=[{steps=1, batch=3}, {steps=1}]", "training.lesions=1"))
    image, target, weight, labels = next(iter(Samples(recipe, heads)))
    assert image.shape == (3, 2, 16, 16, 16)
    assert target.shape == weight.shape == labels.shape == (3, 1, 16, 16, 16)
    assert weight.max() == 1
    assert weight.min().item() == pytest.approx(0.3)


def test_stages_follow_each_other():
    settings = config.load("default", TINY).training
    assert settings.at(3) == (settings.stages[0], 0.75)
    assert settings.at(4) == (settings.stages[1], 0.0)
    assert settings.at(10**6) == (settings.stages[1], 1.0)


def test_a_part_of_the_network_is_trained_alone(heads, tmp_path):
    arguments = "network={kind='cascade', arguments={inputs=2, scans=1, sharp=[4], coarse=[4], fine=[4]}}"
    stages = "training.stages=[{steps=2, part='coarse'}]"
    recipe = config.load("default", (TINY[0], arguments, stages, *TINY[3:], "training.save_every=1"))
    train(recipe, heads, tmp_path, workers=0, report=silent)
    first, last = (load_file(tmp_path / f"checkpoint-000000{k}.safetensors") for k in (1, 2))
    moved = {k for k in first if k.startswith("network.") and not torch.equal(first[k], last[k])}
    assert moved
    assert all(k.startswith("network.coarse.") for k in moved)


def test_people_held_out_are_never_trained_on(heads):
    trained, held = split(config.load("default", TINY), heads)
    assert [h.name for h in trained] == ["a", "b"]
    assert [h.name for h in held] == ["c"]


def test_the_learning_rate_rises_then_falls_in_each_stage():
    settings = config.load("default").training
    begin = 0
    for stage in settings.stages:
        rates = [learning_rate(k, settings) for k in range(begin, begin + stage.steps)]
        assert rates[0] < rates[settings.warmup] == pytest.approx(stage.learning_rate, rel=0.03)
        assert rates[-1] == pytest.approx(stage.learning_rate * settings.final, rel=0.02)
        begin += stage.steps


def test_tissue_levels_are_found():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(m, 8, n) for m, n in ((40, 5000), (100, 20000), (170, 20000))])
    assert tissue_levels(rng.permutation(x)) == pytest.approx((40, 100, 170), abs=5)


def test_label_maps_are_prepared_in_ras_around_the_brain(tmp_path):
    data = np.zeros((120, 100, 110), np.float32)
    data[30:90, 30:70, 40:80] = 511
    data[50:70, 40:60, 50:70] = 3
    data[52:55, 40:60, 50:70] = 17  # at the low end of an axis that runs from right to left: on the right
    affine = np.diag([-1.0, 1, 1, 1])
    (tmp_path / "labels").mkdir()
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "labels" / "one.nii.gz")
    (head,) = corpus.load(corpus.prepare(tmp_path, tmp_path / "corpus"))
    where = np.argwhere(head.labels.data[0].numpy() == 17)
    world = where @ head.labels.affine[:3, :3].T + head.labels.affine[:3, 3]
    assert world[:, 0].min() == -54
    assert world[:, 0].max() == -52
    assert (np.diag(head.labels.affine)[:3] == 1).all()
    assert head.labels.shape == (68, 68, 68)  # the brain is 20 mm wide; 24 mm around it


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(NothingFound, match="labels"):
        corpus.prepare(tmp_path, tmp_path / "corpus")


def test_a_checkpoint_is_three_at_most_and_holds_no_pickle(heads, tmp_path):
    recipe = config.load("default", (*TINY, "training.save_every=1"))
    train(recipe, heads, tmp_path, workers=0, report=silent)
    assert len(list(tmp_path.glob("checkpoint-*.json"))) == 3
    assert {os.path.splitext(p)[1] for p in os.listdir(tmp_path)} == {".json", ".jsonl", ".safetensors", ""}
    state = json.loads(sorted(tmp_path.glob("checkpoint-*.json"))[-1].read_text())
    assert state["step"] == 6


def test_a_folder_in_use_is_not_begun_anew(heads, tmp_path):
    train(config.load("default", TINY), heads, tmp_path, workers=0, report=silent)
    with pytest.raises(UsageError, match="--resume"):
        train(config.load("default", TINY), heads, tmp_path, workers=0, report=silent)
    with pytest.raises(UsageError, match="another recipe"):
        train(config.load("default", (*TINY, "training.seed=1")), heads, tmp_path, resume=True, report=silent)


def test_a_run_killed_before_its_model_was_written_still_gives_one(heads, tmp_path):
    recipe = config.load("default", TINY)
    model = train(recipe, heads, tmp_path, workers=0, report=silent)
    expected = load_file(model)
    model.unlink()
    again = load_file(train(recipe, heads, tmp_path, resume=True, workers=0, report=silent))
    assert all(torch.equal(expected[k], again[k]) for k in expected)


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(heads, tmp_path):
    heads[0].labels.data[:] = 2
    broken = [Head(h.name, h.labels, h.labels.with_data(torch.full(h.labels.data.shape, float("nan")))) for h in heads]
    with pytest.raises(IsomorphError, match="loss is nan at step 0"):
        train(config.load("default", TINY), broken, tmp_path, workers=0, report=silent)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_held_out_name_that_is_not_there_is_refused(heads):
    with pytest.raises(UsageError, match="'d'"):
        split(config.load("default", (*TINY, "held_out=['d']")), heads)
    with pytest.raises(UsageError, match="none of 3 heads is left"):
        split(config.load("default", (*TINY, "held_out=['a', 'b', 'c']")), heads)


def test_workers_make_the_same_samples(heads, tmp_path):
    recipe = config.load("default", TINY)
    first = load_file(train(recipe, heads, tmp_path / "0", workers=0, report=silent))
    second = load_file(train(recipe, heads, tmp_path / "2", workers=2, report=silent))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_training_can_begin_with_a_model(heads, tmp_path):
    recipe = config.load("default", TINY)
    model = train(recipe, heads, tmp_path / "first", workers=0, report=silent)
    still = config.load("default", (*TINY, "training.stages=[{steps=1, learning_rate=0.0}]"))
    again = train(still, heads, tmp_path / "second", start=str(model), workers=0, report=silent)
    named = config.load("default", (*TINY, "training.stages=[{steps=1, learning_rate=0.0}]", f"start='{model}'"))
    by_itself = train(named, heads, tmp_path / "third", workers=0, report=silent)
    model.rename(tmp_path / "elsewhere.safetensors")  # what has begun does not need it any more
    assert train(named, heads, tmp_path / "third", resume=True, workers=0, report=silent) == by_itself
    assert load_model(by_itself).card["recipe"]["start"] == "model.safetensors"
    model = tmp_path / "elsewhere.safetensors"
    first, second, third = load_file(model), load_file(again), load_file(by_itself)
    assert all(torch.equal(first[k], second[k]) and torch.equal(first[k], third[k]) for k in first)


def test_going_on_in_another_precision_is_told(heads, tmp_path):
    recipe, said = config.load("default", TINY), []
    train(recipe, heads, tmp_path, workers=0, report=silent)
    for path in tmp_path.glob("checkpoint-*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "bf16"}))
    train(recipe, heads, tmp_path, resume=True, workers=0, report=said.append)
    assert {"note": "this run was in bf16, and goes on in fp32"} in said


def test_the_average_lags_behind_the_network():
    network, average = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(1.0)
        average.weight.fill_(0.0)
    for _ in range(2):
        update(average, network, 0.9)
    assert average.weight.item() == pytest.approx(1 - 0.9**2)


def test_a_signal_saves_and_the_run_goes_on_from_there(heads, tmp_path):
    recipe = config.load("default", (*TINY, "training.stages=[{steps=60}]", "training.save_every=1000"))
    whole = load_file(train(recipe, heads, tmp_path / "whole", workers=0, report=silent))

    def pull(entry):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        train(recipe, heads, tmp_path / "parts", workers=0, report=pull)
    assert caught.value.exit_code == 143
    assert (tmp_path / "parts" / "checkpoint-0000050.json").exists()
    parts = load_file(train(recipe, heads, tmp_path / "parts", resume=True, workers=0, report=silent))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_interrupted_says_so_in_one_line(heads, tmp_path, number, code):
    (tmp_path / "corpus").mkdir()
    for one in heads:
        corpus._write(one, tmp_path / "corpus" / f"{one.name}.safetensors")
    long = (*TINY, "training.stages=[{steps=100000}]", "training.log_every=1")
    changes = [part for change in long for part in ("--set", change)]
    command = [sys.executable, "-m", "isomorph.cli", "train", "default", "--data", tmp_path / "corpus"]
    command += ["--out", tmp_path / "run", "--workers", "0", "--threads", "1", *changes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line.startswith("step 2") for line in process.stdout)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == f"ERROR interrupted by {number.name}; --resume goes on from there\n"
    assert list((tmp_path / "run").glob("checkpoint-*.json"))


def test_a_checkpoint_knows_the_time_since_the_last_entry_too(heads, tmp_path):
    recipe = config.load("default", (*TINY, "training.log_every=1000"))
    train(recipe, heads, tmp_path, workers=0, report=silent)
    assert json.loads((tmp_path / "checkpoint-0000003.json").read_bytes())["seconds"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_makes_samples_may_be_ended(heads, tmp_path, number):
    """By a cluster that tells all processes, which is heard where it matters; or for want of memory."""
    recipe = config.load("default", (*TINY, "training.stages=[{steps=60}]", "training.log_every=1"))
    ends = iter([number])

    def end(entry):
        for once in ends:
            (child,) = multiprocessing.active_children()
            os.kill(child.pid, once)

    if number == signal.SIGTERM:
        train(recipe, heads, tmp_path, workers=1, report=end)
    else:
        with pytest.raises(SetupError, match=r"E807 a process that makes samples was ended.*--resume"):
            train(recipe, heads, tmp_path, workers=1, report=end)
        train(recipe, heads, tmp_path, workers=0, resume=True, report=silent)
    assert (tmp_path / "checkpoint-0000060.json").exists()


def oblique(tmp_path, labels, degrees=20.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.array([[c, -s, 0, 5], [s, c, 0, 7], [0, 0, 1, -3], [0, 0, 0, 1]])
    (tmp_path / "labels").mkdir()
    nib.save(nib.Nifti1Image(labels, affine), tmp_path / "labels" / "one.nii.gz")


def test_an_oblique_map_is_taken_along_its_own_axes(tmp_path):
    data = np.zeros((60, 60, 60), np.float32)
    data[20:40, 20:40, 20:40] = 3
    oblique(tmp_path, data)
    (head,) = corpus.load(corpus.prepare(tmp_path, tmp_path / "corpus"))
    assert np.array_equal(head.labels.affine[:3, :3], np.eye(3))
    assert (head.labels.data == 3).sum() == 20**3


def test_a_label_that_is_not_in_the_table_is_named(tmp_path):
    oblique(tmp_path, np.full((40, 40, 40), 251, np.float32))
    with pytest.raises(UsageError, match="251"):
        corpus.prepare(tmp_path, tmp_path / "corpus")


def test_a_name_that_appears_twice_is_refused(tmp_path):
    for folder in ("labels", "t1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sub-1.nii.gz").touch()
    with pytest.raises(UsageError, match="sub-1"):
        corpus.prepare(tmp_path, tmp_path / "corpus")
