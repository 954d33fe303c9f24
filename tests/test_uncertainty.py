"""An interval that is as wide as it says, and a T1 that does not change for being asked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isomorph.predict import Options, synthesise
from isomorph.predict.scans import predict_scans
from isomorph.predict.uncertainty import BENDS, FACTOR, FLOOR, interval, speaks
from isomorph.volume import Volume
from isomorph.weights import load_model

LAPLACE = {"white_matter": 1.0, "recipe": {"training": {"stages": [{"loss": {"l1": 1}}, {"loss": {"laplace": 1}}]}}}


def test_the_laplace_head_is_believed_where_it_was_trained() -> None:
    raw = Volume(torch.stack([torch.rand(8, 8, 8), torch.full((8, 8, 8), math.log(0.05))]), np.eye(4))
    wide = interval(raw, raw, LAPLACE, lambda image: image)
    assert wide.data.shape == (1, 8, 8, 8)
    torch.testing.assert_close(wide.data, torch.full((1, 8, 8, 8), 0.05 * FACTOR["laplace"]))
    assert speaks(LAPLACE)
    assert not speaks({"recipe": {"training": {"stages": [{"loss": {"laplace": 1}}, {"loss": {"l1": 1}}]}}})
    assert not speaks({})


def test_the_spread_is_what_flips_and_bends_change() -> None:
    x = Volume(torch.full((1, 16, 16, 16), 0.5), np.eye(4))
    sure = interval(x, x, {"white_matter": 1.0}, lambda image: x)
    torch.testing.assert_close(sure.data, torch.full_like(x.data, FLOOR * FACTOR["spread"]))
    wide = interval(x, x, {"white_matter": 1.0}, lambda image: image)
    away = [0.5**bend - 0.5 for bend in BENDS]
    expected = FACTOR["spread"] * math.sqrt(sum(a**2 for a in away) / 2 + FLOOR**2)
    torch.testing.assert_close(wide.data, torch.full_like(x.data, expected))


def test_edges_are_less_certain_than_what_lies_between_them() -> None:
    step = torch.zeros(1, 16, 16, 16)
    step[:, 8:] = 1
    x = Volume(step, np.eye(4))
    wide = interval(x, x, {"white_matter": 1.0}, lambda image: image).data[0]  # 0 and 1 are bent to 0 and 1
    assert wide[8, 8, 8] > 3 * wide[2, 8, 8]


def test_a_map_beside_the_t1_which_stays_the_same(phantom_file: Path, tmp_path: Path, model_file: Path) -> None:
    say = {"model": str(model_file), "threads": 1}
    wide = tmp_path / "wide.nii.gz"
    assert predict_scans([phantom_file], tmp_path / "a.nii.gz", Options(**say)).exit_code == 0
    asked = Options(**say, uncertainty=str(wide))
    assert predict_scans([phantom_file], tmp_path / "b.nii.gz", asked).exit_code == 0
    a, b, u = (nib.load(path) for path in (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", wide))
    np.testing.assert_array_equal(a.get_fdata(), b.get_fdata())
    assert u.shape == b.shape
    np.testing.assert_array_equal(u.affine, b.affine)
    assert u.get_fdata().min() >= 0
    assert u.get_fdata().max() > 110 * FLOOR
    card = json.loads((tmp_path / "wide.json").read_text())
    assert (card["of"], card["uncertainty"]["level"]) == ("b.nii.gz", 0.9)
    assert predict_scans([phantom_file], tmp_path / "b.nii.gz", asked).outcomes[0].status == "skipped"
    wide.unlink()  # its JSON alone proves nothing
    assert predict_scans([phantom_file], tmp_path / "b.nii.gz", asked).outcomes[0].message[:4] == "E705"
    (tmp_path / "wide.json").unlink()
    assert predict_scans([phantom_file], tmp_path / "b.nii.gz", asked).outcomes[0].message[:4] == "E705"
    taken = Options(**say, uncertainty=str(phantom_file))
    assert predict_scans([phantom_file], tmp_path / "c.nii.gz", taken).outcomes[0].message[:4] == "E701"


def test_in_python_it_is_there_if_asked_for(phantom: Volume, model_file: Path) -> None:
    model = load_model(model_file)
    assert synthesise(phantom, model, flip=False).uncertainty is None
    result = synthesise(phantom, model, flip=False, uncertainty=True)
    assert result.uncertainty is not None
    assert result.uncertainty.shape == result.volume.shape
    assert "uncertainty" in result.seconds


@pytest.mark.parametrize("level", [0.5, 2.0])
def test_units_are_those_of_the_t1(level: float) -> None:
    x = Volume(torch.full((1, 8, 8, 8), level), np.eye(4))
    wide = interval(x, x, {"white_matter": level}, lambda image: x)
    torch.testing.assert_close(wide.data, torch.full_like(x.data, level * FLOOR * FACTOR["spread"]))


def test_air_beyond_the_head_is_as_sure_as_air_beside_it_not_surer(model_file: Path) -> None:
    """What is cropped away before the network sees it."""
    head = torch.zeros(1, 128, 128, 128)
    head[:, 50:78, 50:78, 50:78] = 800 + 100 * torch.rand(28, 28, 28, generator=torch.Generator().manual_seed(0))
    wide = synthesise(Volume(head, np.eye(4)), load_model(model_file), flip=False, uncertainty=True).uncertainty
    assert wide is not None
    assert wide.data[0, 2, 2, 2] == wide.data.min() > 0
