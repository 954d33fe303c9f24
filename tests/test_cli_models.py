"""What `isomorph models` says of the user's own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from isomorph.cli import app
from isomorph.weights import digest, purpose, shipped


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the models of this user lie."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".isomorph").mkdir()
    return tmp_path / ".isomorph"


def test_one_bad_file_hides_no_other(own: Path, model_file: Path) -> None:
    (own / "zebra.safetensors").write_bytes(model_file.read_bytes())
    (own / "junk.safetensors").write_bytes(b"junk")
    (own / "gone.safetensors").symlink_to(own / "nowhere")
    (own / "folder.safetensors").mkdir()
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 6
    listed = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert listed == sorted([*(path.stem for path in shipped()), "zebra"])
    assert digest(own / "zebra.safetensors") in done.stdout
    told = done.stderr.splitlines()
    assert [line.split(" ")[:3] for line in told] == [
        ["ERROR", "E904", "folder.safetensors"],
        ["ERROR", "E904", "gone.safetensors"],
        ["ERROR", "E902", "junk.safetensors"],
    ]


def test_without_a_bad_file_all_is_well(own: Path, model_file: Path) -> None:
    (own / "zebra.safetensors").write_bytes(model_file.read_bytes())
    done = CliRunner().invoke(app, ["models"])
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_card_cannot_move_the_cursor(own: Path, model_file: Path) -> None:
    card = {
        "name": "x",
        "network": "compact",
        "arguments": {},
        "white_matter": 1,
        "licence": "a\x1b[2J",
        "data": "b\nc",
    }
    save_file(load_file(model_file), own / "loud.safetensors", metadata={"isomorph": json.dumps(card)})
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert r"network compact, a\x1b[2J, trained on heads: b\nc; SHA-256" in done.stdout


def test_what_each_model_is_for_is_said() -> None:
    said = dict(line.split(": ", 1) for line in CliRunner().invoke(app, ["models"]).stdout.splitlines())
    assert said["default"].startswith("a T1 of an MR scan; ")
    assert said["ct"].startswith("a T1 of a CT; ")
    assert said["segmenter"].startswith("structures of a T1; ")


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"arguments": {"inputs": 6}, "reliability": True}, "a T1 of 3 MR scans of one exam"),
        (
            {"arguments": {"inputs": 3}, "recipe": {"generator": {"dropout": 0.5}}},
            "a T1 of up to 3 MR scans of one exam",
        ),
        ({"arguments": {"inputs": "two"}}, "a T1 of an MR scan"),
        ({"scans": 1, "target": 0}, "an MR scan, sharpened"),
        ({"kind": "segmentation", "labels": [0, 77]}, "lesions of a scan"),
        ({}, "a T1 of an MR scan"),
    ],
)
def test_a_purpose_is_read_from_the_card(card: dict, said: str) -> None:
    assert purpose(card) == said
