"""The shipped model for CT, on a head that it was not trained on."""

import json
from pathlib import Path
from statistics import fmean

import pytest
import torch
from phantoms import save, scan

from isomorph import config
from isomorph.errors import UsageError
from isomorph.evaluate import ncc
from isomorph.predict import Options
from isomorph.predict.scans import predict_scans
from isomorph.train.corpus import available
from isomorph.train.source import Samples
from isomorph.volume import Volume
from isomorph.weights import load_model

DATA = Path(__file__).parents[2] / "shared" / "data"
HEAD = "training_seg_18"


@pytest.mark.skipif(not DATA.is_dir(), reason="no label maps in ../shared/data")
@torch.inference_mode()
def test_it_is_nearer_to_the_truth_than_the_model_for_any_contrast():
    recipe = config.load("ct")
    samples = Samples(recipe, [available(DATA)[HEAD]()])
    models = {name: load_model(name) for name in ("ct", "default")}
    assert HEAD in models["ct"].card["recipe"]["held_out"]
    found = {name: [] for name in models}
    for number in range(6):
        sample = samples.make(recipe.training.steps, -1 - number)
        inside = sample.weight[0] >= 1
        for name, model in models.items():
            t1 = model.network(sample.image[None])[0, 0]
            found[name].append(ncc(t1, sample.target[0], mask=inside))
    assert fmean(found["ct"]) > fmean(found["default"]) + 0.01


@pytest.mark.parametrize(("named", "taken"), [({}, "ct"), ({"model": "default"}, "default")])
def test_a_ct_is_given_to_it_if_no_other_is_named(named, taken, tmp_path):
    x = scan((40, 44, 12))
    hounsfield = torch.where(x.data > 0, 80 * x.data / x.data.max(), -1000)
    file = save(Volume(hounsfield, x.affine), tmp_path / "ct.nii.gz")
    predict_scans([file], tmp_path / "t1.nii.gz", Options(ct=True, flip=False, **named))
    assert json.loads((tmp_path / "t1.json").read_text())["model"]["name"] == taken


def test_an_mr_scan_is_not_given_to_it(tmp_path):
    file = save(scan((40, 44, 12)), tmp_path / "t2.nii.gz")
    with pytest.raises(UsageError, match="ct knows CT alone; add --ct"):
        predict_scans([file], tmp_path / "t1.nii.gz", Options(model="ct"))
    assert not (tmp_path / "t1.nii.gz").exists()
