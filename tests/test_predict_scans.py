from __future__ import annotations

import getpass
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import centred, save, scan, world_of

from isomorph import io
from isomorph.errors import NothingFound, SetupError, UsageError
from isomorph.predict import Options, scans
from isomorph.predict.batch import Listeners
from isomorph.predict.outcome import Outcome
from isomorph.predict.plan import plan
from isomorph.predict.scans import predict_scans
from isomorph.predict.screen import screen
from isomorph.volume import Volume

GOOD = "done"


@pytest.fixture(autouse=True)
def phantoms_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What random weights make of a phantom does not look like a brain, and that is not what is tested here."""
    monkeypatch.setattr("isomorph.predict.quality.THRESHOLD", 0.0)


@pytest.fixture
def options(model_file: Path) -> Options:
    return Options(model=str(model_file), flip=False, threads=1)


@pytest.fixture
def folder(phantom: Volume, tmp_path: Path) -> Path:
    """Two good scans in a tree, one bad, and something that is no image."""
    root = tmp_path / "in"
    (root / "sub-01").mkdir(parents=True)
    (root / "sub-02").mkdir()
    save(phantom, root / "sub-01" / "scan.nii.gz")
    save(phantom, root / "sub-02" / "scan.nii.gz")
    (root / "broken.nii.gz").write_bytes(b"")
    (root / "notes.txt").write_text("none")
    return root


def test_a_folder_becomes_a_mirrored_folder_and_a_bad_scan_stops_nothing(
    folder: Path, tmp_path: Path, options: Options
) -> None:
    said: list[Outcome] = []
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary = predict_scans([folder], tmp_path / "out", options, Listeners(say=said.append))
    assert summary.exit_code == 4
    assert summary.line.startswith("3 scans: 2 done, 1 refused; exit code 4")
    assert {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        f"sub-0{i}/scan_desc-synth_T1w.{end}" for i in (1, 2) for end in ("nii.gz", "json")
    }
    assert len(said) == len(summary.outcomes) == 3
    assert next(o for o in said if o.status == "refused").line.startswith("ERROR E101 broken.nii.gz: ")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    a, b = ((tmp_path / "out" / s / "scan_desc-synth_T1w.nii.gz").read_bytes() for s in ("sub-01", "sub-02"))
    assert a == b


def test_what_is_refused_leaves_no_folder_behind(folder: Path, tmp_path: Path, options: Options) -> None:
    (folder / "sub-01" / "scan.nii.gz").write_bytes(b"")
    (tmp_path / "mine").mkdir()
    assert predict_scans([folder], tmp_path / "some", options).exit_code == 4
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["sub-02"]
    (folder / "sub-02" / "scan.nii.gz").write_bytes(b"")
    for out in ("new/out", "mine"):
        assert predict_scans([folder], tmp_path / out, options).exit_code == 5
    asked = Options(**{**vars(options), "segmentation": str(tmp_path / "labels"), "segmenter": "none"})
    with pytest.raises(SetupError, match="E904"):
        predict_scans([folder], tmp_path / "new", asked)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {folder.name, "some", "mine"}
    assert not list((tmp_path / "mine").iterdir())  # as it was


def test_a_folder_that_another_run_took_away_is_made_again(
    phantom_file: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(output: io.Output) -> list:
        Path(output.path).parent.rmdir()  # nothing was in it: that run had made it, and all was refused
        return true(output)

    true = io.writer._files
    monkeypatch.setattr(io.writer, "_files", packed)
    assert predict_scans([phantom_file], tmp_path / "new" / "t1.nii.gz", options).exit_code == 0
    assert (tmp_path / "new" / "t1.nii.gz").exists()


def test_a_second_run_over_outputs_skips_or_refuses_and_overwrites_on_request(
    phantom_file: Path, tmp_path: Path, options: Options
) -> None:
    out = tmp_path / "t1.nii.gz"
    assert predict_scans([phantom_file], out, options).exit_code == 0
    first = out.read_bytes()
    again = predict_scans([phantom_file], out, options)
    assert (again.exit_code, again.outcomes[0].status) == (0, "skipped")
    assert "was done before" in again.outcomes[0].line
    other = predict_scans([phantom_file], out, Options(**{**vars(options), "flip": True}))
    assert (other.exit_code, other.outcomes[0].message[:4]) == (5, "E705")
    assert predict_scans([phantom_file], out, Options(**{**vars(options), "overwrite": True})).exit_code == 0
    assert out.read_bytes() == first
    ours = predict_scans([out], tmp_path / "again.nii.gz", options)
    assert (ours.exit_code, ours.outcomes[0].status) == (0, "skipped")
    own = predict_scans([phantom_file], phantom_file, Options(**{**vars(options), "overwrite": True}))
    assert own.outcomes[0].message.startswith("E701")


def test_the_sidecar_tells_how_the_image_was_made_and_nothing_about_who(
    phantom_file: Path, tmp_path: Path, options: Options, model_file: Path
) -> None:
    out = tmp_path / "t1.nii.gz"
    predict_scans([phantom_file], out, options)
    text = (tmp_path / "t1.json").read_text()
    card = json.loads(text)
    assert card["synthetic"] is True
    assert card["contains_face"] is True
    assert card["status"] == GOOD
    assert card["output"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert card["output"]["shape"] == [64, 72, 60]
    assert card["input"]["sha256"] == hashlib.sha256(phantom_file.read_bytes()).hexdigest()
    assert card["model"]["sha256"] == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert card["options"]["flip"] is False
    assert {"read", "prepare", "network", "restore"} <= card["seconds"].keys()
    assert {"device", "precision", "threads", "versions", "warnings"} <= card.keys()
    assert card["seed"] is None
    assert 50 < card["peak_rss_mb"] < 50_000
    for secret in (str(tmp_path), os.fspath(model_file.parent), socket.gethostname()):
        assert secret not in text
    user = getpass.getuser()
    assert f"/{user}" not in text
    image = nib.load(out)
    np.testing.assert_array_equal(image.get_qform(), image.get_sform())


def test_that_an_output_is_there_proves_nothing(phantom_file: Path, tmp_path: Path, options: Options) -> None:
    out = tmp_path / "t1.nii.gz"
    predict_scans([phantom_file], out, options)
    card = json.loads((tmp_path / "t1.json").read_text())
    good, sidecar = out.read_bytes(), (tmp_path / "t1.json").read_text()
    for image, text in (
        (good[:-1], sidecar),
        (good[:-1] + b"x", sidecar),
        (good, sidecar.replace(card["fingerprint"], "0" * 64)),
        (good, "{}"),
    ):
        out.write_bytes(image)
        (tmp_path / "t1.json").write_text(text)
        again = predict_scans([phantom_file], out, options)
        assert (again.exit_code, again.outcomes[0].message[:4]) == (5, "E705")
    out.write_bytes(good)
    (tmp_path / "t1.json").write_text(sidecar)
    assert predict_scans([phantom_file], out, options).outcomes[0].status == "skipped"
    save(scan((64, 72, 13)), phantom_file)  # another scan of that name
    assert predict_scans([phantom_file], out, options).outcomes[0].message[:4] == "E705"


def test_a_second_run_goes_on_where_the_first_one_stopped(folder: Path, tmp_path: Path, options: Options) -> None:
    predict_scans([folder / "sub-01"], tmp_path / "out" / "sub-01", options)
    summary = predict_scans([folder], tmp_path / "out", options)
    assert summary.exit_code == 4
    assert summary.line.startswith("3 scans: 1 done, 1 skipped, 1 refused; exit code 4")


def test_what_another_process_did_meanwhile_is_not_done_again(
    phantom: Volume, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        save(phantom, tmp_path / "in" / f"{name}.nii.gz")
    computed: list[object] = []

    def spy(*given: Any, **how: Any) -> Any:
        computed.append(given)
        return synthesise(*given, **how)

    def other(outcome: Outcome) -> None:
        if outcome.name == "a.nii.gz":  # while the first one works on a, and before it comes to b
            predict_scans([tmp_path / "in" / "b.nii.gz"], f"{tmp_path}/out/", options)

    synthesise = scans.synthesise
    monkeypatch.setattr(scans, "synthesise", spy)
    summary = predict_scans([tmp_path / "in"], tmp_path / "out", options, Listeners(say=other))
    assert [outcome.status for outcome in summary.outcomes] == ["done", "skipped"]
    assert (summary.exit_code, len(computed)) == (0, 2)


def test_what_another_process_finished_first_was_done_before(
    phantom_file: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(*given: Any, **how: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(scans, "synthesise", synthesise)
            predict_scans([phantom_file], tmp_path / "t1.nii.gz", Options(**{**vars(options), **faster}))
        return synthesise(*given, **how)

    synthesise, faster = scans.synthesise, {}
    monkeypatch.setattr(scans, "synthesise", slower)
    summary = predict_scans([phantom_file], tmp_path / "t1.nii.gz", options)
    assert (summary.exit_code, summary.outcomes[0].status) == (0, "skipped")
    (tmp_path / "t1.nii.gz").unlink()
    (tmp_path / "t1.json").unlink()
    faster["flip"] = True  # and is another
    assert predict_scans([phantom_file], tmp_path / "t1.nii.gz", options).outcomes[0].message[:4] == "E705"


def test_what_isomorph_made_is_skipped_and_counted(folder: Path, tmp_path: Path, options: Options) -> None:
    (folder / "broken.nii.gz").unlink()
    assert predict_scans([folder], folder, options).line.startswith("2 scans: 2 done")
    summary = predict_scans([folder], folder, options)
    assert summary.line.startswith("4 scans: 4 skipped; exit code 0")
    assert sum(outcome.message.startswith("E505") for outcome in summary.outcomes) == 2
    seen = [verdict.verdict.outcome for verdict in screen([folder])]
    assert sorted(seen) == ["ok", "ok", "skip", "skip"]
    assert predict_scans([folder], folder, Options(**{**vars(options), "overwrite": True})).exit_code == 0


def test_no_output_replaces_another_input(phantom: Volume, tmp_path: Path, options: Options) -> None:
    first = save(phantom, tmp_path / "a.nii.gz")
    second = save(phantom, tmp_path / "a_desc-synth_T1w.nii.gz")
    before = second.read_bytes()
    with pytest.raises(UsageError, match=r"output of a\.nii\.gz would replace the input a_desc-synth_T1w\.nii\.gz"):
        predict_scans([first, second], tmp_path, Options(**{**vars(options), "overwrite": True}))
    assert second.read_bytes() == before
    other = save(phantom, tmp_path / "a_desc-synth_T1w.nii")  # would share its JSON
    with pytest.raises(UsageError, match="or its JSON"):
        predict_scans([first, other], tmp_path, Options(**{**vars(options), "overwrite": True}))


def test_the_json_of_a_scan_survives_and_the_scan_is_still_a_scan(
    phantom_file: Path, tmp_path: Path, options: Options
) -> None:
    (tmp_path / "scan.json").write_text('{"EchoTime": 0.1}')
    summary = predict_scans([phantom_file], tmp_path / "scan.nii", Options(**{**vars(options), "overwrite": True}))
    assert summary.outcomes[0].message.startswith("E701")
    assert (tmp_path / "scan.json").read_text() == '{"EchoTime": 0.1}'
    assert io.check(phantom_file).codes != ["E505"]


def test_an_output_is_not_written_through_a_linked_folder(folder: Path, tmp_path: Path, options: Options) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub-01").symlink_to(tmp_path / "elsewhere")
    summary = predict_scans([folder], tmp_path / "out", options)
    assert next(o for o in summary.outcomes if o.name.startswith("sub-01")).message.startswith("E706")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    """A head in Hounsfield units: skin, bone, brain, in air."""
    shape, affine = (64, 72, 12), centred((64, 72, 12), np.diag([1.0, 1.0, 5.0]))
    radius = np.linalg.norm(world_of(shape, affine) / np.array([26.0, 30.0, 24.0]), axis=-1)
    image = np.select([radius < 0.8, radius < 0.9, radius < 1], [35.0, 900.0, 20.0], -1000.0)
    noise = np.random.default_rng(0).normal(0, 4, shape)
    return save(Volume(torch.tensor(image + noise, dtype=torch.float32)[None], affine), tmp_path / "ct.nii.gz")


def test_a_ct_that_nobody_called_a_ct_is_told(tomogram: Path, tmp_path: Path, options: Options) -> None:
    assert "W510" not in io.check(tomogram).codes  # the reader is right about it
    outcome = predict_scans([tomogram], tmp_path / "t1.nii.gz", options).outcomes[0]
    assert [w[:4] for w in outcome.warnings if "--ct" in w] == ["W510"]
    card = json.loads((tmp_path / "t1.json").read_text())
    assert "W510" in {warning["code"] for warning in card["warnings"]}
    strict = Options(**{**vars(options), "strict": True})
    outcome = predict_scans([tomogram], tmp_path / "strict.nii.gz", strict).outcomes[0]
    assert (outcome.status, outcome.message[:4]) == ("refused", "W510")
    told = Options(**{**vars(strict), "ct": True})
    assert predict_scans([tomogram], tmp_path / "told.nii.gz", told).outcomes[0].status == "done"


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda x: x, set()),  # as it is
        (lambda x: x.clamp(0, 80), set()),  # exported with the window of a brain
        (lambda x: x * (x > 10) * (x < 80), set()),  # stripped of its skull
        (lambda x: (x + 1000).clamp(min=0) / 1900 * 700, {"W511"}),  # as bright as an MR scan
        (lambda x: (x + 1000).clamp(min=0) / 1900, {"W511"}),  # from 0 to 1
    ],
)
def test_what_was_called_a_ct_and_is_none_is_told(
    change: Callable[[torch.Tensor], torch.Tensor], codes: set[str], tomogram: Path, tmp_path: Path
) -> None:
    scan = io.load(tomogram)
    path = save(scan.with_data(change(scan.data)), tmp_path / "changed.nii.gz")
    assert set(io.check(path, ct=True).codes) & {"W511"} == codes


def test_memory_that_does_not_suffice_fails_one_scan(
    folder: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = io.reader.voxels.values
    calls = iter([MemoryError])

    def once(*arguments: object) -> object:
        for error in calls:
            raise error
        return read(*arguments)

    monkeypatch.setattr(io.reader.voxels, "values", once)
    summary = predict_scans([folder], tmp_path / "out", options)
    assert summary.line.startswith("3 scans: 1 done, 2 refused")
    assert any(o.message.startswith("E801 not enough memory") for o in summary.outcomes)


def test_strict_turns_a_warning_about_geometry_into_a_refusal(
    phantom: Volume, tmp_path: Path, options: Options
) -> None:
    image = nib.Nifti1Image(phantom.data[0].numpy(), None)
    image.header.set_zooms((1, 1, 5))
    nib.save(image, tmp_path / "lost.nii.gz")
    summary = predict_scans([tmp_path / "lost.nii.gz"], tmp_path / "t1.nii.gz", options)
    assert summary.outcomes[0].status == "done_with_warnings"
    assert summary.outcomes[0].warnings[0].startswith("W401")
    strict = Options(**{**vars(options), "strict": True})
    summary = predict_scans([tmp_path / "lost.nii.gz"], tmp_path / "strict.nii.gz", strict)
    assert (summary.exit_code, summary.outcomes[0].status) == (5, "refused")
    assert "--strict" in summary.outcomes[0].message
    assert not (tmp_path / "strict.nii.gz").exists()


def test_two_scans_with_one_output_are_both_named_before_any_work(tmp_path: Path, phantom: Volume) -> None:
    for name in ("a/x.nii.gz", "b/X.nii", "b/y.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(phantom, tmp_path / name)
    with pytest.raises(UsageError, match=r"x\.nii\.gz and .*X\.nii would both become"):
        plan([tmp_path / "a" / "x.nii.gz", tmp_path / "b" / "X.nii"], tmp_path / "out")
    jobs = plan([tmp_path / "a" / "x.nii.gz", tmp_path / "b" / "y.nii.gz"], tmp_path / "out")
    assert [j.target.name for j in jobs] == ["x_desc-synth_T1w.nii.gz", "y_desc-synth_T1w.nii.gz"]
    with pytest.raises(UsageError, match="need a folder"):
        plan([tmp_path / "a", tmp_path / "b"], tmp_path / "one.nii.gz")


def test_one_scan_goes_into_a_folder_that_is_there_or_ends_with_a_slash(phantom_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for output in (tmp_path / "there", f"{tmp_path}/new/"):
        assert plan([phantom_file], output)[0].target == Path(output) / "scan_desc-synth_T1w.nii.gz"
    assert plan([phantom_file], tmp_path / "t1.nii")[0].target == tmp_path / "t1.nii"


def test_what_is_wrong_with_the_machine_is_raised_before_any_scan(
    phantom_file: Path, tmp_path: Path, options: Options
) -> None:
    with pytest.raises(NothingFound):
        predict_scans([tmp_path / "no"], tmp_path / "out", options)
    with pytest.raises(SetupError, match="E904"):
        predict_scans([phantom_file], tmp_path / "t1.nii.gz", Options(model="none"))
    with pytest.raises(UsageError, match="must end in"):
        predict_scans([phantom_file], tmp_path / "t1.png", options)


def test_a_full_disk_ends_the_run_and_says_what_was_not_done(
    folder: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SetupError("E703 the disk is full")

    monkeypatch.setattr(io, "write_all", full)
    summary = predict_scans([folder], tmp_path / "out", options)
    assert summary.exit_code == 6
    assert "1 refused, 2 not run" in summary.line


def test_the_outputs_of_a_scan_appear_together_or_not_at_all(
    phantom_file: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = io.writer.rename

    def full(temporary: Path, path: Path, *, overwrite: bool) -> None:
        if path.name == "t1.json":  # the last of them
            raise OSError(28, "full")
        rename(temporary, path, overwrite=overwrite)

    asked = Options(**{**vars(options), "uncertainty": str(tmp_path / "wide.nii.gz")})
    with monkeypatch.context() as patch:
        patch.setattr(io.writer, "rename", full)
        summary = predict_scans([phantom_file], tmp_path / "t1.nii.gz", asked)
    assert summary.exit_code == 6
    assert "E703" in summary.outcomes[0].message
    assert summary.line.endswith(f": {summary.outcomes[0].message}")  # and not on a line for each of a thousand scans
    assert list(tmp_path.iterdir()) == [phantom_file]
    assert predict_scans([phantom_file], tmp_path / "t1.nii.gz", asked).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        phantom_file.name, "t1.nii.gz", "t1.json", "wide.nii.gz", "wide.json",
    }  # fmt: skip


def test_a_bug_in_one_scan_is_its_own_outcome(
    folder: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = io.read

    def buggy(path: Path, **keywords: object) -> io.Scan:
        if "sub-01" in os.fspath(path):
            raise KeyError("oops\nline two")
        return read(path, **keywords)

    monkeypatch.setattr(io, "read", buggy)
    summary = predict_scans([folder], tmp_path / "out", options)
    assert [o.status for o in summary.outcomes].count("done") == 1
    failed = next(o for o in summary.outcomes if o.status == "failed")
    assert "internal error, KeyError" in failed.line
    assert "\n" not in failed.line
    assert summary.exit_code == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_half_written(number: int, code: int, tmp_path: Path, model_file: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    big = scan((96, 96, 24), np.diag([1.0, 1.0, 5.0]))
    for index in range(30):
        save(big, source / f"{index:02}.nii")
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "isomorph.cli",
            "predict",
            source,
            tmp_path / "out",
            "--model",
            model_file,
            "--threads",
            "1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    first = run.stdout.readline()
    assert first.startswith("done")
    time.sleep(0.1)
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    assert run.returncode == code, err
    assert "Traceback" not in err
    assert "not run" in out.splitlines()[-1]
    files = {p.name for p in (tmp_path / "out").iterdir()}
    images = {name for name in files if name.endswith(".nii.gz")}
    assert files == images | {name.replace(".nii.gz", ".json") for name in images}
    for name in images:
        assert np.isfinite(nib.load(tmp_path / "out" / name).get_fdata()).all()


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), "E801"), (ValueError("odd"), "internal error")])
def test_trouble_while_writing_is_that_of_one_scan(
    error: Exception, code: str, folder: Path, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, tries = scans.write_outputs, []

    def once(*given: Any) -> Any:
        tries.append(given)
        if len(tries) == 1:
            raise error
        return true(*given)

    monkeypatch.setattr(scans, "write_outputs", once)
    summary = predict_scans([folder], tmp_path / "out", options)
    assert sorted(o.status for o in summary.outcomes) == ["done", "failed", "refused"]
    assert next(o for o in summary.outcomes if o.status == "failed").message.startswith(code)
    assert summary.exit_code == 4
