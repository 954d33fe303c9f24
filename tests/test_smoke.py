"""Every command as a user types it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from brains import network_file

from isomorph.cli import _fail, app
from isomorph.console import importing
from isomorph.weights import collected, read_card, shipped

COMMANDS = (
    "predict", "check", "models", "demo", "corpus", "generate", "priors", "synthsr", "convert-weights", "train",
    "improve", "segment",
)  # fmt: skip


def isomorph(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isomorph.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
    )


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command: str | None) -> None:
    done = isomorph(*([command] if command else []), "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert not done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, isomorph.cli; print([m for m in ('torch', 'numpy', 'nibabel', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_model_is_run_without_the_compiler_of_pytorch() -> None:
    """Which takes longer to import than a model to load: any step on a tensor without memory may ask for it."""
    code = (
        "import sys, torch, isomorph.cli, isomorph.predict.scans; from isomorph import load_model; net = load_model()\n"
        "with torch.inference_mode(): net.network(torch.zeros(1, 2, 32, 32, 32))\n"
        "print([m for m in ('torch._dynamo', 'sympy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_predict_one_scan_with_a_report(phantom_file: Path, model_file: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "new" / "t1.nii.gz", tmp_path / "page.html"
    done = isomorph("predict", phantom_file, out, "--model", model_file, "--report", page, "--no-flip", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 scan: 1 done with warnings; exit code 0: all done"
    image = nib.load(out)
    assert image.shape == (64, 72, 60)
    assert np.isfinite(image.get_fdata()).all()
    assert json.loads((tmp_path / "new" / "t1.json").read_text())["options"]["flip"] is False
    assert page.read_text().count("<img") == 2


def test_predict_names_and_measures_structures(phantom_file: Path, model_file: Path, tmp_path: Path) -> None:
    segmenter, labels, table = network_file(tmp_path / "known.safetensors"), tmp_path / "labels.mgz", tmp_path / "v.csv"
    how = ["--model", model_file, "--segmenter", segmenter, "--no-flip", "--threads", 1]
    asked = ["--segmentation", labels, "--volumes", table]
    done = isomorph("predict", phantom_file, tmp_path / "t1.nii.gz", *how, *asked)
    assert done.returncode == 0, done.stderr
    assert nib.load(labels).shape == nib.load(tmp_path / "t1.nii.gz").shape
    assert len(table.read_text().splitlines()) == 2
    wrong = isomorph("predict", phantom_file, tmp_path / "t2.nii.gz", *how, "--volumes", tmp_path / "v.tsv")
    assert wrong.returncode == 2
    assert "ends in .csv" in wrong.stderr


def test_predict_refuses_a_bad_scan_in_one_line(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_text("<html>404</html>")
    done = isomorph("predict", tmp_path / "bad.nii.gz", tmp_path / "t1.nii.gz", "--model", model_file)
    assert done.returncode == 5
    assert done.stderr.startswith("ERROR E103 bad.nii.gz: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "t1.nii.gz").exists()


def test_generate_writes_samples_once(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    labels = np.zeros((30, 32, 34), np.int16)
    labels[5:-5, 5:-5, 5:-5], labels[9:-9, 9:-9, 9:-9] = 3, 2
    (tmp_path / "labels").mkdir()
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "labels" / "one.nii.gz")
    size = ["--set", "generator.deform.size=[32, 32, 32]"]
    command = ["generate", "sr-2021-5mm", tmp_path / "out", "--n", 1, "--seed", 4, "--data", tmp_path, *size]
    done = isomorph(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("samples.png")
    assert nib.load(tmp_path / "out" / "sample-0000_image.nii.gz").shape == (32, 32, 32, 2)
    again = isomorph(*command)
    assert again.returncode == 4
    assert again.stderr.startswith("ERROR E705 sample-0000_image.nii.gz exists already")
    assert isomorph(*command, "--overwrite").returncode == 0
    assert isomorph("generate", "sr-2021", tmp_path / "out").returncode == 2
    assert isomorph("generate", "default", tmp_path / "new", "--data", tmp_path / "none").returncode == 3


def test_a_name_that_begins_with_a_dash_works_after_two_dashes(
    phantom_file: Path, model_file: Path, tmp_path: Path
) -> None:
    phantom_file.rename(tmp_path / "-scan.nii.gz")
    done = isomorph("predict", "--model", model_file, "--", "-scan.nii.gz", "-t1.nii.gz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "-t1.nii.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["predict"], 2, ""),
        (["predict", "one.nii.gz"], 2, "output"),
        (["predict", "{scan}", "out.txt", "--model", "{model}"], 2, "must end in"),
        (["predict", "{scan}", "t1.nii.gz", "--device", "abacus"], 2, "choose from"),
        (["predict", "{scan}", "t1.nii.gz", "--colour"], 2, "colour"),
        (["predict", "nothing-here", "t1.nii.gz"], 3, "no such file or folder: nothing-here; check"),
        (["check", "nothing-here"], 3, "no such file or folder: nothing-here; check"),
        (["predict", "{scan}", "t1.nii.gz", "--model", "none"], 6, "E904"),
    ],
)
def test_errors_have_their_exit_code_and_no_traceback(
    arguments: list[str], code: int, word: str, phantom_file: Path, model_file: Path
) -> None:
    filled = [a.format(scan=phantom_file, model=model_file) for a in arguments]
    done = isomorph(*filled, cwd=phantom_file.parent)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_check_prints_one_json_object_per_file(phantom_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.nii").write_bytes(b"")
    done = isomorph("check", tmp_path, "--json")
    lines = {Path(line["file"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 4
    assert lines["scan.nii.gz"]["outcome"] in {"ok", "warn"}
    assert (lines["empty.nii"]["outcome"], lines["empty.nii"]["codes"]) == ("refuse", ["E101"])
    assert isomorph("check", tmp_path / "empty.nii").returncode == 5
    assert isomorph("check", phantom_file).returncode == 0


def test_models_lists_each_shipped_model_with_its_licence_and_data() -> None:
    done = isomorph("models")
    assert done.returncode == 0
    lines = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == set(collected())
    for path in shipped():
        card, line = read_card(path), lines[path.stem]
        assert f"; network {card['network']}, " in line
        assert card["licence"] in line
        assert card["data"] in line
    assert bool(done.stderr) == (not shipped())


def test_help_knows_exactly_the_commands_tested_here() -> None:
    assert {c.name or c.callback.__name__ for c in app.registered_commands if c.callback} == set(COMMANDS)


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path: Path) -> None:
    for index in range(50):
        (tmp_path / f"{index}.nii").write_bytes(b"")
    run = subprocess.Popen(
        [sys.executable, "-m", "isomorph.cli", "check", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout
    assert run.stderr
    run.stdout.close()  # as `head` does when it has seen enough
    assert run.stderr.read() == b""
    assert run.wait(timeout=60) == 141
    run.stderr.close()


def test_an_error_cannot_move_the_cursor(tmp_path: Path) -> None:
    done = isomorph("predict", "no\x1b[2J\u202ething", "t1.nii.gz", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.strip().isprintable()


def test_a_message_is_escaped_whoever_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _fail("a\x1b[2J\nb", 1)
    assert capsys.readouterr().err == "ERROR a\\x1b[2J b\n"


@pytest.mark.parametrize("command", ["predict", "segment"])
def test_a_path_alone_is_told_in_one_line(command: str) -> None:
    done = isomorph(command, "scan.nii.gz")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "scan.nii.gz alone was given; give at least one scan and the output" in done.stderr


def test_what_is_imported_is_not_searched_for_cycles_and_the_rest_is() -> None:
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        kept = [[]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    assert kept
    gc.unfreeze()


def test_no_threads_are_refused(phantom_file: Path, tmp_path: Path) -> None:
    done = isomorph("predict", phantom_file, tmp_path / "t1.nii.gz", "--threads", 0)
    assert done.returncode == 2
    assert "give 1 or more" in done.stderr


@pytest.mark.parametrize(
    ("report", "code", "word"),
    [
        ("scan.nii.gz", 2, "must end in .html"),
        ("folder.html", 2, "input or a folder"),
        ("scan.nii.gz/page.html", 6, "E702"),
    ],
)
def test_a_report_that_cannot_be_is_refused_before_any_scan(
    report: str, code: int, word: str, phantom_file: Path, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.html").mkdir()
    before = phantom_file.read_bytes()
    done = isomorph(
        "predict", phantom_file, tmp_path / "t1.nii.gz", "--model", model_file, "--report", tmp_path / report
    )
    assert (done.returncode, word in done.stderr) == (code, True), done.stderr
    assert phantom_file.read_bytes() == before
    assert not (tmp_path / "t1.nii.gz").exists()


@pytest.mark.slow
def test_demo(model_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    done = isomorph("demo", tmp_path / "demo", "--model", model_file)
    assert done.returncode == 0, done.stderr
    assert {"scan.nii.gz", "t1.nii.gz", "t1.json", "index.html"} <= {p.name for p in (tmp_path / "demo").iterdir()}
    assert "cubic interpolation" in done.stdout
