"""T1s that are there already get labels and volumes: the ones that they would have got when they were made."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from brains import CLASSES, brain, level, network_file
from phantoms import CARD, centred, save, turned
from phantoms import scan as phantom
from typer.main import get_command
from typer.testing import CliRunner

from isomorph import cli, io
from isomorph.demo import _sidecar
from isomorph.errors import UsageError
from isomorph.nets import Compact
from isomorph.predict import Options, synthesise
from isomorph.predict.plan import Job, plan_t1s
from isomorph.predict.scans import predict_scans
from isomorph.predict.segment import Segmentation, segment, segmented
from isomorph.predict.t1s import _judged, _origin, segment_t1s
from isomorph.space import axis_codes
from isomorph.volume import Volume
from isomorph.weights import load_model, save_model

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slab of a brain, read by `known`; tilted, so that its T1 has corners that it has not seen."""
    shape = (152, 168, 8)
    affine = centred(shape, np.diag([1.0, 1.0, 3.0]))
    affine[1, 2] = 0.4  # the gantry
    labels = brain(shape, affine, only=CLASSES)
    noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))  # no scan without
    return save(labels.with_data(level(labels.data) * 500 + noise), tmp_path_factory.mktemp("scans") / "scan.nii.gz")


@pytest.fixture
def common(tmp_path: Path) -> dict:
    known = network_file(tmp_path / "known.safetensors")
    return {"segmenter": str(known), "flip": False, "threads": 1, "precision": "fp32"}


@pytest.fixture
def t1(scan: Path, tmp_path: Path, identity_file: Path) -> Path:
    """Made without labels."""
    out = tmp_path / "t1s" / "scan_desc-synth_T1w.nii.gz"
    how = Options(model=str(identity_file), flip=False, threads=1, precision="fp32")
    assert predict_scans([scan], out, how).exit_code == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_labels_are_those_that_were_made_with_the_t1(
    scan: Path, t1: Path, tmp_path: Path, common: dict, identity_file: Path
) -> None:
    together = Options(model=str(identity_file), segmentation=str(tmp_path / "with.nii.gz"), **common)
    assert predict_scans([scan], tmp_path / "again.nii.gz", together).exit_code == 0
    table = tmp_path / "v.csv"
    apart = Options(segmentation=str(tmp_path / "apart.nii.gz"), volumes=str(table), **common)
    before = t1.read_bytes()
    first = segment_t1s([t1], apart)
    assert first.exit_code == 0, first.outcomes
    assert t1.read_bytes() == before
    expected, found = (json.loads((tmp_path / name).read_text()) for name in ("again.json", "apart.json"))
    assert (voxels(tmp_path / "with.nii.gz") == voxels(tmp_path / "apart.nii.gz")).mean() > 0.9999
    for name, size in expected["segmentation"]["volumes_mm3"].items():
        assert found["segmentation"]["volumes_mm3"][name] == pytest.approx(size, rel=1e-3, abs=2), name
    assert found["segmentation"]["cut"] == expected["segmentation"]["cut"] != []
    assert found["quality"] == expected["quality"]
    assert (found["of"], found["input"]["file"], found["labels"]["49"]) == (t1.name, t1.name, "right thalamus")
    assert found["contains_face"] is False
    assert str(tmp_path) not in (tmp_path / "apart.json").read_text()
    (row,) = rows(table)
    assert (row["file"], row["sha256"]) == (t1.name, io.digest(t1))
    assert float(row["left cortex"]) == found["segmentation"]["volumes_mm3"]["left cortex"] > 1000

    table.unlink()  # as if the run had been killed before the row was written
    again = segment_t1s([t1], apart)
    assert (again.outcomes[0].status, rows(table)) == ("skipped", [row])
    other = Options(**vars(apart) | {"flip": True})
    refused = segment_t1s([t1], other)
    assert (refused.exit_code, refused.outcomes[0].message[:4]) == (5, "E705")
    assert segment_t1s([t1], Options(**vars(other) | {"overwrite": True})).exit_code == 0


def test_what_the_scan_has_seen_is_known_from_the_json(
    scan: Path, t1: Path, tmp_path: Path, common: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Volume | None] = []

    def spy(*given: Any, scan: Volume | None, **more: Any) -> Segmentation:
        seen.append(scan)
        return segmented(*given, scan=scan, **more)

    monkeypatch.setattr("isomorph.predict.t1s.segmented", spy)
    assert segment_t1s([t1], Options(segmentation=str(tmp_path / "a.nii.gz"), **common)).exit_code == 0
    io.sidecar_path(t1).unlink()
    other = segment_t1s([t1], Options(segmentation=str(tmp_path / "a.nii.gz"), **common)).outcomes[0]
    assert other.message[:4] == "E705"  # without the JSON the labels, and what is said of them, would be others
    assert segment_t1s([t1], Options(segmentation=str(tmp_path / "b.nii.gz"), **common)).exit_code == 0
    there, lost = seen
    assert there is not None
    assert there.shape == nib.load(scan).shape
    np.testing.assert_allclose(there.affine, nib.load(scan).affine, atol=1e-5)
    assert lost is None
    assert json.loads((tmp_path / "b.json").read_text())["quality"]["value"] is not None


def test_a_folder_of_t1s_is_mirrored_and_what_is_none_is_skipped(
    scan: Path, t1: Path, tmp_path: Path, common: dict, identity_file: Path
) -> None:
    folder, out = tmp_path / "t1s", tmp_path / "labels"
    wide = Options(model=str(identity_file), flip=False, threads=1, uncertainty=str(folder / "wide.nii.gz"))
    (folder / "sub").mkdir()
    assert predict_scans([scan], folder / "sub" / "mine.nii.gz", wide).exit_code == 0
    (folder / "real_T1w.nii.gz").write_bytes(scan.read_bytes())
    (folder / "bad.nii.gz").write_bytes(b"")
    how = Options(segmentation=str(out), volumes=str(tmp_path / "v.csv"), **common)
    summary = segment_t1s([folder], how)
    assert summary.line.startswith("5 scans: 3 done with warnings, 1 skipped, 1 refused; exit code 4"), summary.line
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.nii.gz")} == {
        "scan_desc-synth_dseg.nii.gz",  # the name that `predict` gives
        "sub/mine_desc-synth_dseg.nii.gz",
        "real_T1w_desc-synth_dseg.nii.gz",
    }
    skipped = next(o for o in summary.outcomes if o.status == "skipped")
    assert (skipped.name, skipped.message[:4]) == ("wide.nii.gz", "E505")
    assert next(o for o in summary.outcomes if o.status == "refused").line.startswith("ERROR E101 bad.nii.gz")
    assert [(row["file"], row["output"]) for row in rows(tmp_path / "v.csv")] == [
        ("real_T1w.nii.gz", "real_T1w_desc-synth_dseg.nii.gz"),
        ("scan_desc-synth_T1w.nii.gz", "scan_desc-synth_dseg.nii.gz"),
        ("sub/mine.nii.gz", "sub/mine_desc-synth_dseg.nii.gz"),
    ]
    beside = segment_t1s([folder], Options(**vars(how) | {"segmentation": str(folder)}))
    assert [o.status for o in beside.outcomes].count("done_with_warnings") == 3
    again = segment_t1s([folder], Options(**vars(how) | {"segmentation": str(folder)}))
    assert again.line.startswith("8 scans: 7 skipped, 1 refused")


def test_named_images_of_ours_that_are_no_t1_are_not_taken(t1: Path, tmp_path: Path, common: dict) -> None:
    labels = tmp_path / "labels.nii.gz"
    assert segment_t1s([t1], Options(segmentation=str(labels), **common)).exit_code == 0
    again = segment_t1s([labels], Options(segmentation=str(tmp_path / "more.nii.gz"), **common))
    assert (again.outcomes[0].status, again.outcomes[0].message[:4]) == ("skipped", "E505")
    assert not (tmp_path / "more.nii.gz").exists()


def test_predict_says_where_labels_of_a_t1_that_is_there_come_from(
    scan: Path, t1: Path, tmp_path: Path, common: dict, identity_file: Path
) -> None:
    how = Options(model=str(identity_file), volumes=str(tmp_path / "v.csv"), **common)
    outcome = predict_scans([scan], t1, how).outcomes[0]
    assert outcome.status == "refused"
    assert re.match(r"E705 .* exists already; name the structures of this very T1 by isomorph segment", outcome.message)


def real_t1(shape: tuple[int, int, int]) -> tuple[Volume, Volume]:
    """A T1 of 1 mm, as bright as nobody knows, and its labels."""
    labels = brain(shape, centred(shape, np.eye(3)))
    grey = torch.isin(labels.data, torch.tensor([3, 42, 8, 47, 10, 49, 11, 50, 12, 51, 17, 53]))
    white = torch.isin(labels.data, torch.tensor([2, 41, 7, 46, 16]))
    folds = torch.rand(labels.data.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    return labels.with_data((0.65 * grey + white + folds * (grey | white)) * 700), labels


def test_a_real_t1_is_judged_whatever_its_scale(common: dict) -> None:
    t1, labels = real_t1((152, 168, 60))
    known = load_model(common["segmenter"])
    found = segment(t1, known, precision="fp32", flip=False)
    found = type(found)(**vars(found) | {"labels": labels})
    good = _judged(t1, found)
    assert _judged(t1.with_data(t1.data * 9), found) == pytest.approx(good, abs=1e-4)
    inverted = t1.with_data(t1.data.max() - t1.data)  # as a T2 would be
    assert _judged(inverted, found) < min(good, 0.5)


def test_each_option_shows_in_what_is_written(scan: Path, tmp_path: Path, common: dict) -> None:
    out = tmp_path / "labels.nii.gz"

    def run(*options: object, code: int = 0) -> dict:
        say = ["segment", scan, out, "--segmenter", common["segmenter"], "--overwrite", *options]
        done = CliRunner().invoke(cli.app, [*map(str, say)])
        assert done.exit_code == code, done.output
        return json.loads(io.sidecar_path(out).read_text())

    card = run("--device", "cpu", "--threads", 1, "--precision", "fp32", "--no-flip", "--debug")
    assert (card["device"], card["threads"], card["precision"]) == ("cpu", 1, "fp32")
    assert (card["options"]["flip"], card["segmentation"]["model"]["name"]) == (False, "known")
    np.testing.assert_allclose(nib.load(out).header.get_zooms(), 1, atol=1e-5)
    little = run("--no-flip", "--precision", "fp32", "--max-memory", 8)
    assert little["options"]["max_memory"] == 8
    assert little["segmentation"]["volumes_mm3"] == card["segmentation"]["volumes_mm3"]
    own = run("--no-flip", "--precision", "fp32", "--grid", "input", "--volumes", tmp_path / "v.csv")
    assert nib.load(out).shape == nib.load(scan).shape
    assert own["segmentation"]["volumes_mm3"] == card["segmentation"]["volumes_mm3"]
    assert len(rows(tmp_path / "v.csv")) == 1
    assert run("--strict", code=5)["fingerprint"] == own["fingerprint"]  # W405 the gantry: what was there stays
    options = get_command(cli.app).commands["segment"].params  # pyright: ignore[reportAttributeAccessIssue]
    used = "volumes segmenter device threads precision no_flip grid max_memory overwrite strict debug"
    assert {option.name for option in options} - {"paths"} == set(used.split())


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ("--segmenter none", 6, "E904 no model called 'none'; choose from"),
        ("--segmenter {identity}", 6, "E906 identity does not name the structures of a scan; choose"),
        ("--volumes {folder}/v.txt", 2, "--volumes is 'v.txt'; give the name of a table that ends in .csv"),
        ("--grid 2mm", 2, "--grid is '2mm'; choose from 1mm, input"),
        ("--max-memory 0.001", 5, "E806 scan.nii.gz: this image needs about .* GB, .*; allow more"),
        ("--threads 0", 2, "--threads is 0; give 1 or more"),
    ],
)
def test_each_refusal_names_what_is_wrong_and_what_to_do(
    options: str, code: int, told: str, scan: Path, identity_file: Path, tmp_path: Path, common: dict,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = [] if "--segmenter" in options else ["--segmenter", common["segmenter"]]
    say = ["isomorph", "segment", str(scan), str(tmp_path / "labels.nii.gz"), *model]
    monkeypatch.setattr("sys.argv", [*say, *options.format(folder=tmp_path, identity=identity_file).split()])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == code, said
    assert len(said.splitlines()) == 1
    assert re.search(told, said), said
    assert not (tmp_path / "labels.nii.gz").exists()


def test_a_model_whose_outputs_are_more_than_its_labels_is_told(scan: Path, tmp_path: Path, common: dict) -> None:
    path, arguments = tmp_path / "odd.safetensors", {"features": [2, 2], "outputs": 4}
    card = {"name": "odd", "network": "compact", "arguments": arguments, "kind": "segmentation", **CARD}
    save_model(path, Compact(**arguments), card | {"labels": [0, 2, 3]}, half=False)
    monkey = CliRunner().invoke(cli.app, ["segment", str(scan), str(tmp_path / "l.nii.gz"), "--segmenter", str(path)])
    assert monkey.exit_code != 0
    assert re.search(r"E903 odd gives 4 outputs and names 3 structures", str(monkey.exception))


def test_a_real_t1_on_the_command_line(tmp_path: Path, common: dict) -> None:
    found = sorted(REAL.glob("*t1*.nii.gz"))
    if not found:
        pytest.skip("no real scans in ../shared/data")
    say = ["segment", found[0], tmp_path / "labels.nii.gz", "--no-flip", "--segmenter", common["segmenter"]]
    done = CliRunner().invoke(cli.app, [*map(str, say)])
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "labels.json").read_text())
    assert card["input"]["sha256"] == io.digest(found[0])
    assert card["quality"]["value"] is not None


def test_several_t1s_need_a_folder(scan: Path, tmp_path: Path, common: dict) -> None:
    (tmp_path / "b.nii.gz").write_bytes(scan.read_bytes())
    with pytest.raises(Exception, match="several scans, or those of a folder, need a folder as output"):
        segment_t1s([scan, tmp_path / "b.nii.gz"], Options(segmentation=str(tmp_path / "l.nii.gz"), **common))


def test_a_cube_is_judged_however_it_is_stored() -> None:
    """As FreeSurfer conforms it: the shape of its labels, whose axes are others."""
    t1, labels = real_t1((160, 160, 160))
    found = Segmentation(labels, {}, 0.0, 0.0, (), None, "", "")  # pyright: ignore[reportArgumentType]
    stored = turned(t1, (0, 2, 1), (-1, -1, 1))
    assert (axis_codes(stored.affine), stored.shape) == ("LIA", labels.shape)
    good = _judged(t1, found)
    assert good > 0
    assert _judged(stored, found) == pytest.approx(good, abs=1e-4)


def test_a_scan_beside_its_t1_is_left_out(t1: Path, tmp_path: Path) -> None:
    folder, out = t1.parent, tmp_path / "labels"
    for name in ("scan.nii.gz", "other.nii.gz"):
        (folder / name).write_bytes(b"")
    jobs = plan_t1s([folder], out)
    assert sorted(job.source.name for job in jobs) == ["other.nii.gz", t1.name]
    with pytest.raises(UsageError, match="would both become scan_desc-synth_dseg"):  # who names both wants both
        plan_t1s([folder / "scan.nii.gz", t1], out)


def test_the_t1_of_the_demo_is_a_t1(tmp_path: Path, identity_file: Path) -> None:
    network, path = load_model(identity_file), tmp_path / "t1.nii.gz"
    result = synthesise(phantom(), network, flip=False)
    io.write(result.volume, path, sidecar=_sidecar(result, network))
    assert _origin(Job(path, path, "t1"))["tool"] == "isomorph"
