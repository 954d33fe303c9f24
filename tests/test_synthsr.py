"""In place of mri_synthsr: the same names, the same rules, and an honest end of every scan."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import save, scan
from typer.testing import CliRunner

from isomorph.cli import app
from isomorph.errors import NothingFound, SetupError, UsageError
from isomorph.io import read
from isomorph.nets import UNet
from isomorph.predict import synthesise
from isomorph.predict.synthsr import plan_synthsr, weights
from isomorph.weights import collected, load_model, save_model


@pytest.fixture
def original_file(tmp_path: Path) -> Path:
    """A small SynthSR of random weights, as `convert` would write it."""
    torch.manual_seed(3)
    path = tmp_path / "original.safetensors"
    card = {"name": "original", "network": "unet", "arguments": {"features": 2, "levels": 3}, "compat": "freesurfer"}
    card |= {"white_matter": 110 / 255, "licence": "CC0-1.0", "data": "none"}
    save_model(path, UNet(features=2, levels=3), card, half=False)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder as mri_synthsr takes it."""
    folder = tmp_path / "scans"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.nii.gz", "a.mgz", "c.nii", "notes.txt", ".hidden.nii", "deeper/d.nii.gz"):
        (folder / name).write_bytes(b"")
    return folder


def test_names_and_places_are_those_of_mri_synthsr(scans: Path, tmp_path: Path) -> None:
    def names(given: Path, output: Path) -> list[tuple[str, str]]:
        jobs = plan_synthsr(str(given), str(output))
        return [(job.source.name, job.target.relative_to(tmp_path).as_posix()) for job in jobs]

    assert names(scans, tmp_path / "out") == [
        ("a.mgz", "out/a_synthsr.mgz"), ("b.nii.gz", "out/b_synthsr.nii.gz"), ("c.nii", "out/c_synthsr.nii"),
    ]  # fmt: skip
    assert names(scans / "c.nii", tmp_path / "out") == [("c.nii", "out/c_synthsr.nii")]
    assert names(scans / "c.nii", tmp_path / "t1.mgz") == [("c.nii", "t1.mgz")]
    (tmp_path / "in.txt").write_text(f"{scans}/c.nii\n\n{scans}/a.mgz\n", encoding="utf-8-sig")
    (tmp_path / "out.txt").write_text(f"{tmp_path}/x/1.nii.gz\n{tmp_path}/2.mgz\n\n")
    assert names(tmp_path / "in.txt", tmp_path / "out.txt") == [("c.nii", "x/1.nii.gz"), ("a.mgz", "2.mgz")]


@pytest.mark.parametrize(
    ("given", "output", "error", "words"),
    [
        ("scans", "t1.nii.gz", UsageError, "must be one"),
        ("scans", "out.txt", UsageError, "both be .txt"),
        ("one.txt", "out", UsageError, "both be .txt"),
        ("one.txt", "two.txt", UsageError, "1 scans and --o 2"),
        ("none.txt", "two.txt", NothingFound, "cannot be read"),
        ("none.nii.gz", "out", NothingFound, "no scan"),
        ("two.txt", "swapped.txt", UsageError, "would replace the input"),
        ("two.txt", "twice.txt", UsageError, "would both become"),
        ("two.txt", "beside.txt", UsageError, r"c\.nii and .*a\.mgz would both have the JSON t1\.json; rename one"),
    ],
)
def test_what_does_not_go_together_is_refused(
    given: str, output: str, error: type[Exception], words: str, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text(f"{scans}/c.nii\n")
    (tmp_path / "two.txt").write_text(f"{scans}/c.nii\n{scans}/a.mgz\n")
    (tmp_path / "swapped.txt").write_text(f"{scans}/a.mgz\n{tmp_path}/new.mgz\n")
    (tmp_path / "twice.txt").write_text(f"{tmp_path}/new.nii.gz\n" * 2)
    (tmp_path / "beside.txt").write_text(f"{tmp_path}/t1.nii.gz\n{tmp_path}/t1.mgz\n")
    with pytest.raises(error, match=words):
        plan_synthsr(str(tmp_path / given), str(tmp_path / output))


def test_one_scan_in_two_formats_is_told_before_the_work(scans: Path, tmp_path: Path) -> None:
    (scans / "a.nii.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a\.mgz and .*a\.nii\.gz would both have the JSON a_synthsr\.json"):
        plan_synthsr(str(scans), str(tmp_path / "out"))


def test_the_drop_in_follows_the_rules_of_freesurfer(original_file: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = save(scan((22, 21, 6), np.diag([1.3, 1.3, 5.0])), tmp_path / "in" / "scan.nii.gz")
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"")
    command = ["synthsr", "--i", tmp_path / "in", "--o", tmp_path / "in", "--model", original_file, "--cpu"]
    command += ["--threads", 1, "--disable_flipping", "--disable_sharpening"]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 4, done.output
    found = nib.load(tmp_path / "in" / "scan_synthsr.nii.gz")
    model = load_model(original_file)
    expected = synthesise(read(source).volume, model, compat="freesurfer", flip=False, sharpen=False, device="cpu")
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected.volume.data[0].numpy())
    again = CliRunner().invoke(app, list(map(str, command)))
    assert "3 scans: 2 skipped, 1 refused" in again.output  # done before; and its output, which is no scan


@pytest.mark.parametrize(
    ("flags", "name"),
    [({}, "v20_230130"), ({"lowfield": True}, "lowfield_v20"), ({"v1": True, "lowfield": True}, "v10")],
)
def test_missing_weights_say_where_to_get_them(
    flags: dict[str, bool], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SetupError, match=rf"E904 .*synthsr_{name}.*isomorph convert-weights") as caught:
        weights(**flags)
    assert len(f"ERROR {caught.value}") - len(str(tmp_path)) + len("/home/somebody") < 300
    assert weights("mine.safetensors", **flags) == "mine.safetensors"


def test_weights_in_the_folder_of_the_user_are_known_by_name(
    original_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".isomorph").mkdir()
    original_file.rename(tmp_path / ".isomorph" / "synthsr-v2.safetensors")
    assert load_model(weights()).card["name"] == "original"
    assert "synthsr-v2" in collected()
