"""The result on the grid of the scan: in its place, and averaged over its slices."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import orientations, scan, turned
from scipy.spatial.transform import Rotation

from isomorph.errors import UsageError
from isomorph.predict import Options, synthesise
from isomorph.predict.restore import on_grid
from isomorph.predict.scans import predict_scans
from isomorph.volume import Volume
from isomorph.weights import Model

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()


class Same(torch.nn.Module):
    multiple = 8

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


SAME = Model(Same().eval(), {"name": "same", "white_matter": 1.0, "arguments": {}}, "0" * 64)


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 1.0, 5.0]), OBLIQUE @ np.diag([0.9, 0.9, 5.0])], ids=["axial", "oblique"]
)
def test_the_result_lies_on_the_grid_of_the_scan_and_shows_the_same(matrix: np.ndarray) -> None:
    volume = scan((66, 72, 13), matrix)
    result = synthesise(volume, SAME, grid="input", flip=False)
    assert result.volume.shape == volume.shape
    np.testing.assert_array_equal(result.volume.affine, volume.affine)
    assert result.volume.data.dtype == torch.float32
    low, high = result.window
    expected = ((volume.data - low) / (high - low) * 110).clamp(0, 110)
    assert np.corrcoef(result.volume.data.flatten(), expected.flatten())[0, 1] > 0.98


def test_in_all_48_orientations() -> None:
    volume = scan((40, 44, 9), np.diag([1.0, 1.0, 5.0]))
    expected = synthesise(volume, SAME, grid="input", flip=False).volume
    for order, signs in orientations():
        out = synthesise(turned(volume, order, signs), SAME, grid="input", flip=False).volume
        same = turned(expected, order, signs)
        np.testing.assert_allclose(out.affine, same.affine, atol=1e-9)
        assert (out.data - same.data).abs().max() < 0.3


def test_a_thick_slice_gets_the_mean_of_what_it_covers() -> None:
    """One bright millimetre in five, wherever it lies in the slice: a fifth of the brightness, not all or none."""
    fine = torch.zeros(1, 8, 8, 60)
    fine[..., 2::5] = 100.0
    thick = np.diag([1.0, 1.0, 5.0, 1.0])
    for shift in range(5):
        thick[2, 3] = shift
        got = on_grid(Volume(fine, np.eye(4)), (8, 8, 11), thick).data[..., 2:-2]
        assert got.min() > 15
        assert got.max() < 25


def test_a_step_between_slices_stays_where_it_is() -> None:
    fine = torch.zeros(1, 8, 8, 60)
    fine[..., 30:] = 100.0
    thick = np.diag([1.0, 1.0, 5.0, 1.0])
    thick[2, 3] = 2.0  # the middle of the first five
    got = on_grid(Volume(fine, np.eye(4)), (8, 8, 12), thick).data[0, 4, 4]
    assert got[:5].max() < 5
    assert got[7:].min() > 95
    assert got[5] + got[6] == pytest.approx(100, abs=1e-3)


def test_from_the_command_to_the_file(phantom_file: Path, model_file: Path, tmp_path: Path) -> None:
    options = Options(model=str(model_file), grid="input", uncertainty=str(tmp_path / "wide.nii.gz"))
    outcome = predict_scans([phantom_file], tmp_path / "t1.nii.gz", options).outcomes[0]
    assert outcome.status.startswith("done"), outcome.message
    given = nib.load(phantom_file)
    for name in ("t1.nii.gz", "wide.nii.gz"):
        image = nib.load(tmp_path / name)
        assert image.shape == given.shape
        assert image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.affine, given.affine, atol=1e-4)
    assert json.loads((tmp_path / "t1.json").read_text())["options"]["grid"] == "input"
    again = predict_scans([phantom_file], tmp_path / "t1.nii.gz", Options(model=str(model_file)))
    assert again.outcomes[0].status == "refused"  # the other grid is another result


def test_an_unknown_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="--grid is 'native'; choose from 1mm, input"):
        Options(grid="native")
