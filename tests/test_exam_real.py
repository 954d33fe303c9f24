"""Real scans of one exam through a network of several channels: they are brought together from wherever they lie."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import CARD
from scipy.spatial.transform import Rotation

from isomorph import io
from isomorph.nets import Compact
from isomorph.predict import Options
from isomorph.predict.scans import predict_scans
from isomorph.space import canonical_grid
from isomorph.weights import save_model

MS = Path(__file__).parents[2] / "shared" / "data" / "real" / "ms"
pytestmark = pytest.mark.skipif(not MS.is_dir(), reason="no real scans in ../shared/data")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A network of random weights that reads T2, T1 and FLAIR, each with its reliability, or some of them."""
    torch.manual_seed(0)
    arguments = {"inputs": 6, "features": (4, 8)}
    card = {"name": "three", "network": "compact", "arguments": arguments, "reliability": True, **CARD}
    card["recipe"] = {"generator": {"dropout": 0.8}}
    save_model(tmp_path / "three.safetensors", Compact(**arguments), card, half=False)
    return Options(model=str(tmp_path / "three.safetensors"), flip=False, threads=1, precision="fp32")


def halved(path: Path, out: Path, move: np.ndarray) -> nib.Nifti1Image:
    """Every second voxel in plane of a real scan, which are 1.2 and 1.4 mm then, with a movement in its header."""
    scan, step = nib.load(path), np.diag([2.0, 2.0, 1.0, 1.0])
    image = nib.Nifti1Image(np.asarray(scan.dataobj)[::2, ::2], move @ scan.affine @ step)
    nib.save(image, out)
    return image


def test_a_real_scan_that_was_moved_is_put_back(options: Options, tmp_path: Path) -> None:
    """The same FLAIR twice, once with 12 mm and 7 degrees of movement in its header: both must end in one place."""
    pytest.importorskip("ants")
    still, move = np.eye(4), np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.from_euler("xyz", (5, -3, 4), degrees=True).as_matrix(), (7.0, -8.0, 6.0)
    t2, flair, moved = (tmp_path / f"{name}.nii.gz" for name in ("t2", "flair", "moved"))
    halved(MS / "patient12_study1_T2W.nii.gz", t2, still)
    before = halved(MS / "patient12_study1_FLAIR.nii.gz", flair, still)
    after = halved(MS / "patient12_study1_FLAIR.nii.gz", moved, move)
    places, images = [], []
    for name in (flair, moved):
        out = tmp_path / f"t1_{name.name}"
        summary = predict_scans([t2, "-", name], out, options)
        assert summary.exit_code == 0, summary.line
        card = json.loads(io.sidecar_path(out).read_text())
        assert [(part["file"], part["reference"]) for part in card["exam"]] == [
            (t2.name, True),
            (name.name, False),
        ]
        places.append(np.array(card["exam"][1]["affine"]))
        images.append(nib.load(out))
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]).T
    corners[:3] *= np.array(before.shape)[:, None] - 1
    gap = [np.linalg.norm((one - other) @ corners, axis=0).max() for one, other in (
        (after.affine, before.affine), places, (places[0], before.affine),
    )]  # fmt: skip
    assert gap[0] > 10  # mm: the one was far away
    assert gap[1] < 3  # they end in one place, to a slice at the corners of the field of view; threads of ITK differ
    assert gap[2] < 8  # and the patient lay still, more or less
    shape, affine = canonical_grid(io.load(t2))
    for image in images:
        assert image.shape == shape
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    one, other = (image.get_fdata().ravel() for image in images)
    assert np.corrcoef(one, other)[0, 1] > 0.93  # the second place is known to a slice: see above
