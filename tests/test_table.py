"""Labels and volumes as files: whole at every instant, resumable, told in a table of one row a scan."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from brains import CLASSES, brain, level, network_file
from phantoms import centred, save

from isomorph import io
from isomorph.errors import Refusal, SetupError, UsageError
from isomorph.predict import Options, synthesise
from isomorph.predict import table as table_module
from isomorph.predict.plan import Job
from isomorph.predict.scans import predict_scans
from isomorph.predict.t1s import segment_t1s
from isomorph.predict.table import BRAIN, FIRST, SKULL, add_row, check_table
from isomorph.weights import load_model


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slab of a brain, read by `known`."""
    shape = (152, 168, 20)
    labels = brain(shape, centred(shape, np.eye(3)), only=CLASSES)
    noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))  # no scan without
    return save(labels.with_data(level(labels.data) * 500 + noise), tmp_path_factory.mktemp("scans") / "scan.nii.gz")


@pytest.fixture
def options(identity_file: Path, tmp_path: Path) -> dict:
    known = network_file(tmp_path / "known.safetensors")
    return {"model": str(identity_file), "segmenter": str(known), "flip": False, "threads": 1, "precision": "fp32"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def sidecar(**changes: object) -> dict:
    """Of a T1, as far as a table reads it."""
    found = {"cut": ["left cortex", "brainstem"], "brain_mm3": 1.5, "intracranial_mm3": 2.0}
    found["volumes_mm3"] = {"left cortex": 1.0, "brainstem": 0.5}
    return {"segmentation": found, "quality": {"value": 0.9}, "input": {"sha256": "ab"}} | changes


def job(name: str, target: str = "t1.nii.gz") -> Job:
    return Job(Path(name), Path(target), name)


def test_one_scan_gives_labels_and_a_row_and_is_not_done_twice(scan: Path, tmp_path: Path, options: dict) -> None:
    table, labels = tmp_path / "new" / "volumes.csv", tmp_path / "labels.nii.gz"
    how = Options(**options, segmentation=str(labels), volumes=str(table))
    first = predict_scans([scan], tmp_path / "t1.nii.gz", how)
    assert first.exit_code == 0, first.outcomes
    t1, found = nib.load(tmp_path / "t1.nii.gz"), nib.load(labels)
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, t1.affine)
    assert set(np.unique(found.dataobj)) == {0, 2, 41, 3, 42, 4, 43, 10, 49}
    card, said = (json.loads((tmp_path / name).read_text()) for name in ("t1.json", "labels.json"))
    assert (said["of"], said["labels"]["49"]) == ("t1.nii.gz", "right thalamus")
    assert card["segmentation"] == said["segmentation"]
    assert str(tmp_path) not in (tmp_path / "t1.json").read_text()
    (row,) = rows(table)
    assert tuple(row)[: len(FIRST)] == FIRST
    assert (row["file"], row["output"]) == ("scan.nii.gz", "t1.nii.gz")
    assert row["sha256"] == card["input"]["sha256"]
    assert float(row["left cortex"]) == card["segmentation"]["volumes_mm3"]["left cortex"] > 1000
    assert float(row[SKULL]) > float(row[BRAIN]) > 10_000
    assert "left cortex" in row["cut"].split("; ")
    assert any(warning.startswith("W603") for warning in first.outcomes[0].warnings)

    table.unlink()  # as if the run had been killed before the row was written
    assert predict_scans([scan], tmp_path / "t1.nii.gz", how).outcomes[0].status == "skipped"
    assert rows(table) == [row]
    labels.unlink()
    assert predict_scans([scan], tmp_path / "t1.nii.gz", how).outcomes[0].message[:4] == "E705"


def test_a_folder_gives_a_folder_of_labels_and_one_table(scan: Path, tmp_path: Path, options: dict) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "=scan.nii.gz").write_bytes(scan.read_bytes())
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"")
    how = Options(**options, segmentation=str(tmp_path / "seg"), volumes=str(tmp_path / "v.csv"))
    summary = predict_scans([tmp_path / "in"], tmp_path / "out", how)
    assert summary.line.startswith("3 scans: 2 done with warnings, 1 refused")
    assert sorted(p.relative_to(tmp_path / "seg").as_posix() for p in (tmp_path / "seg").rglob("*.nii.gz")) == [
        "a/=scan_desc-synth_dseg.nii.gz",
        "b/=scan_desc-synth_dseg.nii.gz",
    ]
    assert [(row["file"], row["output"]) for row in rows(tmp_path / "v.csv")] == [
        ("a/=scan.nii.gz", "a/=scan_desc-synth_T1w.nii.gz"),
        ("b/=scan.nii.gz", "b/=scan_desc-synth_T1w.nii.gz"),
    ]
    one = Options(**options, segmentation=str(tmp_path / "seg.nii.gz"))
    with pytest.raises(UsageError, match="need a folder"):
        predict_scans([tmp_path / "in"], tmp_path / "other", one)


def test_on_the_grid_of_the_scan_and_in_python(scan: Path, options: dict) -> None:
    import isomorph

    volume, known = isomorph.load(scan), load_model(options["segmenter"])
    thick = volume.with_data(volume.data[:, :, :, ::4])
    thick = isomorph.Volume(thick.data, volume.affine @ np.diag([1, 1, 4.0, 1]))
    result = synthesise(
        thick, options["model"], flip=False, precision="fp32", segmentation=known, grid="input", max_memory=50.0
    )
    assert result.segmentation is not None
    assert result.segmentation.labels.shape == result.volume.shape == thick.shape
    assert {2, 41, 3, 42} <= set(result.segmentation.labels.data.unique().tolist())
    assert "segmentation" in result.seconds
    assert synthesise(thick, options["model"], flip=False, precision="fp32").segmentation is None


def test_a_row_replaces_that_of_the_same_scan_and_no_other(tmp_path: Path) -> None:
    table = tmp_path / "v.csv"
    add_row(table, job("a.nii.gz"), sidecar())
    add_row(table, job("-b.nii.gz"), sidecar())
    add_row(table, job("a.nii.gz"), sidecar(input={"sha256": "cd"}))  # another scan of that name
    before = table.read_bytes()
    add_row(table, job("-b.nii.gz"), sidecar())
    assert table.read_bytes() == before
    add_row(table, job("-b.nii.gz"), sidecar(quality={"value": None}))
    add_row(table, job("a.nii.gz", "=t1.nii.gz"), sidecar())  # the same scan as part of an exam, say
    assert [(row["file"], row["sha256"], row["output"], row["quality"]) for row in rows(table)] == [
        ("a.nii.gz", "ab", "t1.nii.gz", "0.9"),
        ("'-b.nii.gz", "ab", "t1.nii.gz", ""),
        ("a.nii.gz", "cd", "t1.nii.gz", "0.9"),
        ("a.nii.gz", "ab", "'=t1.nii.gz", "0.9"),
    ]
    assert rows(table)[0]["cut"] == "left cortex; brainstem"
    assert [p.name for p in tmp_path.iterdir()] == ["v.csv"]


def test_the_row_of_an_exam_names_what_its_hash_is_of_and_its_output(
    scan: Path, tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isomorph.predict.possible.able", lambda: None)
    monkeypatch.setattr("isomorph.align.loaded", lambda: None)
    monkeypatch.setattr("isomorph.predict.exam.aligned", lambda t1, _: t1)
    place, table = tmp_path / "exams" / "sub" / "ses", tmp_path / "v.csv"
    place.mkdir(parents=True)
    thin, image = place / "thin.nii.gz", nib.load(scan)
    thin.write_bytes(scan.read_bytes())
    thick = np.asarray(image.dataobj)[:, :, ::4], image.affine @ np.diag([1.0, 1.0, 4.0, 1.0])
    nib.save(nib.Nifti1Image(*thick), place / "a_thick.nii.gz")
    exams = Options(**options, volumes=str(table), exams=True)
    assert predict_scans([tmp_path / "exams"], tmp_path / "out", exams).exit_code == 0
    both = Options(**options, volumes=str(table))
    assert predict_scans([place / "a_thick.nii.gz", thin], tmp_path / "t1.nii.gz", both).exit_code == 0
    told = [
        ("sub/ses/thin.nii.gz", io.digest(thin), "sub/ses_desc-synth_T1w.nii.gz"),
        ("thin.nii.gz", io.digest(thin), "t1.nii.gz"),
    ]
    assert [(row["file"], row["sha256"], row["output"]) for row in rows(table)] == told
    table.unlink()
    assert predict_scans([tmp_path / "exams"], tmp_path / "out", exams).outcomes[0].status == "skipped"
    assert [(row["file"], row["sha256"], row["output"]) for row in rows(table)] == told[:1]


def test_a_table_that_a_spreadsheet_saved_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    add_row(path, job("a.nii"), sidecar())
    path.write_text(path.read_text(), encoding="utf-8-sig")  # with a mark before the first letter
    add_row(path, job("b.nii"), sidecar(sha256="1"))
    assert [row["file"] for row in rows(path)] == ["a.nii", "b.nii"]


def test_rows_of_many_at_once_are_all_there(tmp_path: Path) -> None:
    table = tmp_path / "v.csv"
    threads = [threading.Thread(target=add_row, args=(table, job(f"{k}.nii.gz"), sidecar())) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["file"] for row in rows(table)) == sorted(f"{k}.nii.gz" for k in range(12))


OLD = "file,sha256,quality,cut,total brain,intracranial (estimated),brainstem\na,ab,0.9,,1.5,2.0,0.5\n"  # no output


@pytest.mark.parametrize("content", ["a,b\n1,2\n", OLD, ",".join(FIRST) + "\nhalf a line", "\xff", '"'])
def test_a_table_of_somebody_else_is_never_touched(content: str, scan: Path, tmp_path: Path, options: dict) -> None:
    table = tmp_path / "v.csv"
    table.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=r"--volumes: E705 v\.csv exists and is no table of volumes"):
        predict_scans([scan], tmp_path / "t1.nii.gz", Options(**options, volumes=str(table), overwrite=True))
    with pytest.raises(Refusal, match="E705"):
        add_row(table, job("a"), sidecar())
    assert table.read_bytes() == content.encode("latin-1")
    assert not (tmp_path / "t1.nii.gz").exists()


def test_a_table_of_another_segmenter_is_told_before_anything_is_computed(
    scan: Path, tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, out = tmp_path / "v.csv", tmp_path / "out.nii.gz"
    add_row(table, job("a"), sidecar())  # of two structures, and `known` has nine
    before = table.read_bytes()
    for computing in ("scans.synthesise", "t1s.segmented"):
        monkeypatch.setattr(f"isomorph.predict.{computing}", lambda *_, **__: pytest.fail("computed"))
    told = r"--volumes: E705 v\.csv exists and is .* another segmentation network; choose another name"
    with pytest.raises(UsageError, match=told):
        predict_scans([scan], out, Options(**options, volumes=str(table)))
    with pytest.raises(UsageError, match=told):
        segment_t1s([scan], Options(**options, volumes=str(table), segmentation=str(out)))
    assert (table.read_bytes(), out.exists()) == (before, False)
    table.write_text(",".join(FIRST) + "\n")  # without a row it is nobody's
    check_table(table, ("brainstem",))


def test_a_row_that_cannot_be_written_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(table_module, "place", full)
    with pytest.raises(SetupError, match=r"E703 the T1 is there, its row in v\.csv is not \(no space left on device\)"):
        add_row(tmp_path / "v.csv", job("a"), sidecar())


def test_a_table_of_nothing_leaves_no_folder(tmp_path: Path, options: dict) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    before = set(tmp_path.iterdir())
    how = {"volumes": str(tmp_path / "new" / "v.csv"), "segmentation": str(tmp_path / "seg" / "x.nii.gz")}
    predict_scans([tmp_path / "bad.nii.gz"], tmp_path / "t1s" / "t1.nii.gz", Options(**options, **how))
    segment_t1s([tmp_path / "bad.nii.gz"], Options(**{k: options[k] for k in ("segmenter", "flip")}, **how))
    assert set(tmp_path.iterdir()) == before


def test_what_cannot_be_a_table_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv"):
        check_table(tmp_path / "v.txt", ())
    (tmp_path / "link.csv").symlink_to(tmp_path / "v.csv")
    with pytest.raises(Refusal, match="E706"):
        check_table(tmp_path / "link.csv", ())
    add_row(tmp_path / "v.csv", job("a"), sidecar())
    other = sidecar()
    other["segmentation"]["volumes_mm3"] = {"brainstem": 0.5}
    with pytest.raises(Refusal, match="another segmentation network"):
        add_row(tmp_path / "v.csv", job("b"), other)
