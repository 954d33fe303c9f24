"""The demo replaces what a demo left, and nothing else; what it lacks is told before anything is made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from phantoms import save, scan

from isomorph import demo, io
from isomorph.errors import Refusal, SetupError
from isomorph.predict import Options
from isomorph.predict.scans import predict_scans
from isomorph.volume import Volume

OURS = {"scan.nii.gz", "scan.json", "t1.nii.gz", "t1.json", "index.html"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of phantoms in place of the average brain, which takes a minute."""
    for package in demo.PACKAGES:
        pytest.importorskip(package)

    def truth() -> Volume:
        volume = scan((64, 72, 60), np.eye(3))
        return volume.with_data(volume.data.clamp(min=0) * (110 / 800))

    monkeypatch.setattr(demo, "load_truth", truth)


def held(folder: Path) -> dict[str, bytes | None]:
    return {path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def test_twice_in_one_folder(identity_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    demo.run_demo(out, str(identity_file))
    first = held(out)
    assert first.keys() == OURS
    (out / "notes.txt").write_text("of the user")
    (out / "t1.nii.gz").unlink()  # a part of it goes on too
    lines = demo.run_demo(out, str(identity_file))
    assert lines[-1] == f"look at {out / 'index.html'}"
    assert held(out).keys() == {*OURS, "notes.txt"}
    assert held(out)["scan.nii.gz"] == first["scan.nii.gz"]
    assert io.check(out / "scan.nii.gz").outcome != "refuse"  # a scan as any other, to try commands on


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_no_demo_left_stays(name: str, identity_file: Path, tmp_path: Path) -> None:
    """The scan is of isomorph, saved by the user: its header alone would not tell."""
    kinds = {".gz": lambda path: io.save(scan(), path), ".json": lambda path: path.write_text('{"EchoTime": 0.1}')}
    kinds.get((tmp_path / name).suffix, lambda path: path.write_text("<html>mine</html>"))(tmp_path / name)
    before = held(tmp_path)
    with pytest.raises(Refusal, match=r"^E705 .* choose another folder, or move it away$"):
        demo.run_demo(tmp_path, str(identity_file))
    assert held(tmp_path) == before


def test_a_t1_of_the_users_own_scan_stays(identity_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how = Options(model=str(identity_file), flip=False)
    assert predict_scans([save(scan(), tmp_path / "mine.nii.gz")], out / "t1.nii.gz", how).exit_code == 0
    before = held(out)
    with pytest.raises(Refusal, match=r"^E705 t1\.nii\.gz"):
        demo.run_demo(out, str(identity_file))
    assert held(out) == before


@pytest.mark.parametrize("change", ["content", "json", "link", "folder"])
def test_what_was_changed_since_stays(change: str, identity_file: Path, tmp_path: Path) -> None:
    demo.run_demo(tmp_path, str(identity_file))
    path = tmp_path / "scan.nii.gz"
    if change == "content":
        save(scan(), path)
    elif change == "json":
        card = json.loads((tmp_path / "scan.json").read_text())
        (tmp_path / "scan.json").write_text(json.dumps(card | {"command": "predict"}))
    else:
        path.unlink()
        path.mkdir() if change == "folder" else path.symlink_to(tmp_path / "elsewhere.nii.gz")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refusal, match=r"^E705"):
        demo.run_demo(tmp_path, str(identity_file))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("package", demo.PACKAGES)
def test_what_is_missing_is_told_before_the_work(
    package: str, identity_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"^E905 the demo needs {package}; .*type: pip install '\.\[demo\]'"):
        demo.run_demo(tmp_path / "demo", str(identity_file))
    assert not (tmp_path / "demo").exists()


def test_without_the_model_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="E904"):
        demo.run_demo(tmp_path / "demo", "no-such-model")
    assert not (tmp_path / "demo").exists()
