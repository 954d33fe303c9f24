"""A folded brain passes; what is smooth, noisy, too large or unrelated to its scan does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import centred, world_of

from isomorph.predict import Options
from isomorph.predict.quality import THRESHOLD, notice, quality
from isomorph.predict.scans import predict_scans
from isomorph.volume import Volume

SHAPE = (144, 176, 136)
AFFINE = centred(SHAPE, np.eye(3))


def brain(folds: float = 0.25) -> Volume:
    """White matter with a folded border in grey matter in a thin skull, as a T1 shows them."""
    world = world_of(SHAPE, AFFINE)
    radius = np.linalg.norm(world / np.array([62.0, 78.0, 58.0]), axis=-1)
    waves = sum(np.sin(world[..., axis] / 3.2 + axis) for axis in range(3)) / 2
    x = np.select([radius < 0.7 + folds * waves, radius < 0.93, radius < 1.0, radius < 1.05], [110.0, 78.0, 15.0, 90.0])
    return Volume(torch.tensor(x, dtype=torch.float32)[None], AFFINE)


def test_a_brain_passes_whatever_its_contrast() -> None:
    t1 = brain()
    flair = t1.with_data(torch.where(t1.data > 20, 300 - 2 * t1.data, t1.data))
    assert quality(t1, t1) > 0.7
    assert quality(t1, flair) > 0.7
    assert notice(quality(t1, flair)) == ()


def test_what_is_no_brain_does_not_pass() -> None:
    t1, rng = brain(), np.random.default_rng(0)
    smooth, noise = brain(folds=0.0), t1.with_data(torch.tensor(rng.uniform(0, 140, (1, *SHAPE)), dtype=torch.float32))
    ball = t1.with_data((t1.data > 20).float() * 100)
    everywhere = t1.with_data(torch.full_like(t1.data, 100.0))
    for name, x in {"smooth": smooth, "noise": noise, "ball": ball, "everywhere": everywhere}.items():
        assert quality(x, x) < THRESHOLD, name
    assert quality(t1.with_data(t1.data * 0), t1) == 0
    (told,) = notice(quality(ball, ball))
    assert told.code == "W601"


def test_a_brain_that_the_scan_does_not_show_was_invented() -> None:
    t1, rng = brain(), np.random.default_rng(0)
    noise = t1.with_data(torch.tensor(rng.uniform(0, 140, (1, *SHAPE)), dtype=torch.float32))
    assert quality(t1, noise) < THRESHOLD
    assert quality(t1, noise, ct=True) > THRESHOLD  # of a CT that is not asked


def test_a_localiser_does_not_pass() -> None:
    t1 = brain()
    affine = AFFINE.copy()
    affine[:3, 2] *= 20
    assert quality(t1, Volume(t1.data[..., ::20], affine)) < THRESHOLD


def test_the_number_is_in_the_json_and_the_warning_is_told(
    phantom_file: Path, tmp_path: Path, model_file: Path
) -> None:
    summary = predict_scans(
        [phantom_file], tmp_path / "t1.nii.gz", Options(model=str(model_file), flip=False, threads=1)
    )
    (outcome,) = summary.outcomes
    assert (outcome.status, [w[:4] for w in outcome.warnings]) == ("done_with_warnings", ["W601"])
    card = json.loads((tmp_path / "t1.json").read_text())
    assert card["quality"]["threshold"] == THRESHOLD
    assert 0 <= card["quality"]["value"] < THRESHOLD
    assert card["warnings"][-1]["code"] == "W601"


@pytest.mark.parametrize("value", [THRESHOLD, 1.0])
def test_at_the_threshold_nothing_is_told(value: float) -> None:
    assert notice(value) == ()
