import json
import os

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from isomorph import config
from isomorph.config import Stage
from isomorph.errors import NothingFound
from isomorph.losses import LOSSES
from isomorph.train import corpus
from isomorph.train.corpus import Head, tissue_levels
from isomorph.train.loop import learning_rate, train
from isomorph.train.source import Samples, split
from isomorph.volume import Volume
from isomorph.weights import load_model

TINY = (
    "generator.deform.size=[16, 16, 16]",
    "network.arguments={features=[4, 8]}",
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
    stages = "training.stages=[{steps=150}]"
    entries = []
    options = (*TINY[:2], stages, *TINY[4:], "training.learning_rate=3e-3", "training.warmup=5")
    train(config.load("default", options), heads, tmp_path, workers=0, report=entries.append)
    losses = [e["loss"] for e in entries if "loss" in e]
    assert losses[-1] < 0.7 * losses[0]


def test_sample_number_n_does_not_depend_on_where_one_began(heads):
    recipe = config.load("default", TINY)
    first, second = Samples(recipe, heads), Samples(recipe, heads, start=3)
    assert torch.equal(list(first)[3][0], next(iter(second))[0])


def test_a_batch_is_what_its_stage_asks_for(heads):
    recipe = config.load("default", (*TINY, "training.stages=[{steps=1, batch=3}, {steps=1}]"))
    image, target, weight = next(iter(Samples(recipe, heads)))
    assert image.shape == target.shape == weight.shape == (3, 1, 16, 16, 16)
    assert weight.max() == 1
    assert weight.min().item() == pytest.approx(0.3)


def test_stages_follow_each_other(heads):
    samples = Samples(config.load("default", TINY), heads)
    assert samples.stage(3) == Stage(steps=4)
    assert samples.stage(4).set == ("contrast.random=1.0",)
    assert samples.stage(10**6) == samples.stage(5)


def test_people_held_out_are_never_trained_on(heads):
    trained, held = split(config.load("default", TINY), heads)
    assert [h.name for h in trained] == ["a", "b"]
    assert [h.name for h in held] == ["c"]


def test_the_learning_rate_rises_then_falls():
    settings = config.load("default").training
    rates = [learning_rate(k, settings) for k in range(settings.steps)]
    assert rates[0] < rates[settings.warmup] == pytest.approx(settings.learning_rate, rel=0.02)
    assert rates[-1] == pytest.approx(settings.learning_rate * settings.final, rel=0.02)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_are_zero_at_the_truth_and_means_over_the_batch(loss):
    torch.manual_seed(0)
    x, y, w = torch.rand(3, 2, 1, 6, 6, 6)
    assert loss(x, x, w) == 0
    assert loss(x, y, w).item() == pytest.approx(
        (loss(x[:1], y[:1], w[:1]) + loss(x[1:], y[1:], w[1:])).item() / 2, rel=1e-5
    )
    assert loss(x, y, 0 * w) == 0
    x.requires_grad_()
    loss(x, y, w).backward()
    assert x.grad.isfinite().all()


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
    assert {os.path.splitext(p)[1] for p in os.listdir(tmp_path)} == {".json", ".jsonl", ".safetensors"}
    state = json.loads(sorted(tmp_path.glob("checkpoint-*.json"))[-1].read_text())
    assert state["step"] == 6
