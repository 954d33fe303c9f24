"""The shipped model for CT, on a head that it was not trained on."""

import json
from pathlib import Path

import pytest
import torch
from phantoms import save, scan

from isomorph import config
from isomorph.errors import UsageError
from isomorph.predict import Options
from isomorph.predict.scans import predict_scans
from isomorph.train.corpus import available
from isomorph.train.machine import accelerator
from isomorph.train.validate import validate
from isomorph.volume import Volume
from isomorph.weights import load_model

DATA = Path(__file__).parents[2] / "shared" / "data"
HEAD = "training_seg_18"


@pytest.mark.skipif(not DATA.is_dir(), reason="no label maps in ../shared/data")
def test_it_is_nearer_to_the_truth_than_the_model_for_any_contrast():
    recipe = config.load("ct", ("training.validate_samples=3",))
    heads, machine = [available(DATA)[HEAD]()], accelerator(recipe.training)
    ours, default = (load_model(name) for name in ("ct", "default"))
    assert HEAD in ours.card["recipe"]["held_out"]
    ours, default = (validate(model.network, recipe, heads, machine)[0] for model in (ours, default))
    assert ours["validation_psnr"] > default["validation_psnr"] + 0.5


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
