from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from phantoms import save, scan
from PIL import Image
from typer.testing import CliRunner

from isomorph.cli import app
from isomorph.errors import SetupError, UsageError
from isomorph.io import sidecar, sidecar_path
from isomorph.predict import Options
from isomorph.predict.outcome import Outcome
from isomorph.predict.scans import predict_scans
from isomorph.progress import watching
from isomorph.report import Entry, check_report, draw, write_report
from isomorph.volume import Volume

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\n\x1b[2J\u202ejavascript:.nii"


WHAT = '<p class="warning">(W601 .*)</p>', r", quality 0\.\d\d"  # a phantom is no brain


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def page(path: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(path.read_text())
    return parser.seen


def test_a_report_has_pictures_times_warnings_and_metrics(tmp_path: Path) -> None:
    volume = scan((20, 24, 8))
    entries = [
        Entry(
            name="a.nii.gz",
            warnings=["W405 tilted"],
            seconds={"network": 1.25, "write": 0.5},
            pictures={"input": draw(volume), "synthetic T1": draw(volume, window=(0, 150))},
            metrics={"isomorph": {"psnr": 31.25}},
        ),
        Entry(name="b.nii.gz", status="refused", message="E101 empty"),
    ]
    path = write_report(tmp_path / "deep" / "page.html", entries)
    text = path.read_text()
    for word in ("W405 tilted", "1.25", "1.75", "31.25", "E101 empty", "not a medical device"):
        assert word in text
    assert text.count("left of the head (L) is shown on the left, not on the right as in radiological viewers") == 1
    assert "radiological" not in write_report(tmp_path / "bare.html", entries[1:]).read_text()  # no picture, no sides
    assert sum(tag == "img" for tag, _ in page(path)) == 2
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_nothing_in_a_report_can_run_or_call_home(tmp_path: Path) -> None:
    texts = {"message": HOSTILE, "warnings": [HOSTILE], "seconds": {HOSTILE: 1.0}, "metrics": {HOSTILE: {HOSTILE: 1.0}}}
    entry = Entry(name=HOSTILE, status=HOSTILE, pictures={HOSTILE: draw(scan((20, 24, 8)))}, **texts)
    path = write_report(tmp_path / "page.html", [entry], title=HOSTILE)
    tags = page(path)
    assert not {"script", "iframe", "object", "link", "a"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not [v for v in attributes.values() if v and re.search("https?:", v)]
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
    policy = next(a["content"] for t, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_a_picture_is_a_png_without_text_and_left_is_on_the_left() -> None:
    volume = scan((64, 72, 60), np.eye(3))
    picture = Image.open(io.BytesIO(draw(volume, window=(850, 950))))
    assert not picture.text
    grey = np.asarray(picture.convert("L")).astype(float)
    axial = grey[:, -grey.shape[1] // 3 :][:, 40:-40]  # without the letters
    lesion = np.argwhere(axial > 128).mean(0)
    assert lesion[1] < axial.shape[1] / 2  # on the left
    assert lesion[0] < axial.shape[0] / 2  # in front is up


def test_a_report_that_fails_at_the_end_does_not_swallow_the_summary(
    phantom_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isomorph.report.html.place", full)
    arguments = ["predict", phantom_file, tmp_path / "t1.nii.gz", "--model", model_file, "--no-flip"]
    run = CliRunner().invoke(app, [*map(str, arguments), "--report", str(tmp_path / "page.html")])
    assert run.stdout.splitlines()[-1] == "1 scan: 1 done with warnings; exit code 0: all done"
    assert isinstance(run.exception, SetupError)
    assert "report 'page.html' cannot be written" in str(run.exception)


def test_the_same_command_again_makes_the_report_anew_with_what_was_skipped(
    phantom: Volume, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    save(phantom, tmp_path / "in" / "a.nii.gz")
    report = tmp_path / "out" / "index.html"
    arguments = ["predict", tmp_path / "in", tmp_path / "out", "--model", model_file, "--no-flip", "--report", report]
    assert CliRunner().invoke(app, [*map(str, arguments)]).exit_code == 0
    first = [attributes["src"] for tag, attributes in page(report) if tag == "img"]
    told, quality = (re.findall(what, report.read_text()) for what in WHAT)
    assert (len(told), len(quality)) == (1, 1)
    save(phantom, tmp_path / "in" / "b.nii.gz")
    again = CliRunner().invoke(app, [*map(str, arguments)])
    assert again.exit_code == 0, again.output
    text, pictures = report.read_text(), [attributes["src"] for tag, attributes in page(report) if tag == "img"]
    assert f"skipped: a_desc-synth_T1w.nii.gz was done before{quality[0]}" in text
    assert [re.findall(what, text) for what in WHAT] == [told * 2, quality * 2]  # as it was said then, and of b now
    assert again.stderr.count("WARNING") == 1  # of what is new
    assert (text.count("<h2>a.nii.gz</h2>"), text.count("<h2>b.nii.gz</h2>")) == (1, 1)
    assert (pictures[:2], len(pictures)) == (first, 4)
    report.write_text("of somebody else")
    other = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(other.exception, UsageError)
    assert report.read_text() == "of somebody else"


@pytest.mark.parametrize("broken", [{"warnings": 3}, {"quality": {"value": "high"}}, {"warnings": [{"code": "W1"}]}])
def test_a_json_that_was_edited_since_costs_no_more_than_what_it_said(
    broken: dict, phantom_file: Path, model_file: Path, tmp_path: Path
) -> None:
    how, out = Options(model=str(model_file), flip=False), tmp_path / "t1.nii.gz"
    assert predict_scans([phantom_file], out, how).exit_code == 0
    said = sidecar(out) | broken
    sidecar_path(out).write_text(json.dumps(said))
    outcome = predict_scans([phantom_file], out, how).outcomes[0]
    assert (outcome.status, outcome.message, outcome.warnings) == ("skipped", "t1.nii.gz was done before", ())


def test_what_was_done_before_stands_in_a_report_without_a_picture_too(
    phantom_file: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    how, out = Options(model=str(model_file), flip=False), tmp_path / "t1.nii.gz"
    assert predict_scans([phantom_file], out, how).exit_code == 0
    monkeypatch.setattr("isomorph.predict.scans._Synthesis.stored", broken)
    with watching(tmp_path / "page.html") as listeners:
        assert predict_scans([phantom_file], out, how, listeners).exit_code == 0
    assert "skipped: t1.nii.gz was done before" in (tmp_path / "page.html").read_text()


def test_a_run_that_never_began_leaves_no_folder_of_a_report(phantom_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="E904"), watching(tmp_path / "out" / "page.html") as listeners:
        predict_scans([phantom_file], tmp_path / "out" / "t1.nii.gz", Options(model="none"), listeners)
    assert list(tmp_path.iterdir()) == [phantom_file]


def test_a_run_that_never_began_leaves_an_older_report_alone(phantom_file: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("older")
    with pytest.raises(SetupError, match="E904"), watching(tmp_path / "page.html", overwrite=True) as listeners:
        predict_scans([phantom_file], tmp_path / "t1.nii.gz", Options(model="none"), listeners)
    assert (tmp_path / "page.html").read_text() == "older"


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib.figure"])
def test_a_report_is_checked_before_the_work(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.html").write_text("a scan, of all names")
    for name, inputs in (("page.txt", []), ("page.nii.gz", []), ("scan.html", [tmp_path / "scan.html"])):
        with pytest.raises(UsageError, match=name):
            check_report(tmp_path / name, inputs)
    assert check_report(tmp_path / "new" / "page.html").parent.is_dir()
    with pytest.raises(UsageError, match=r"scan.html.*exists already and is no report of isomorph; .*--overwrite"):
        check_report(tmp_path / "scan.html")
    assert check_report(tmp_path / "scan.html", overwrite=True)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SetupError, match=r"E905 a report needs (jinja2|matplotlib); .*'\.\[report\]'"):
        check_report(tmp_path / "page.html")


def test_each_warning_has_its_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as listeners:
        listeners.say(
            Outcome(name="a.nii", status="done_with_warnings", message="t1", warnings=("W510 CT", "W405 shear"))
        )
    assert capsys.readouterr().err.splitlines() == ["WARNING a.nii: W510 CT", "WARNING a.nii: W405 shear"]


def test_long_work_is_not_silent_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 29.0, 31.0, 31.0, 40.0, 61.5, 61.5])
    monkeypatch.setattr("isomorph.progress.time.monotonic", lambda: next(clock))
    with watching() as listeners:
        assert listeners.progress
        for share in (0.1, 0.25, 0.5, 1.0):
            listeners.progress("exam", "network", share)
    assert capsys.readouterr().err.splitlines() == ["exam: network 25%", "exam: network 100%"]


def test_what_is_drawn_like_another_grid_has_its_left_on_the_left_too() -> None:
    volume = scan((64, 72, 60), np.eye(3))
    lps = volume.affine @ np.array([[-1, 0, 0, 63], [0, -1, 0, 71], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = Volume(volume.data.flip(1, 2), lps)
    pictures = [Image.open(io.BytesIO(draw(x, like=turned, window=(850, 950)))) for x in (volume, turned)]
    pictures.append(Image.open(io.BytesIO(draw(volume, window=(850, 950)))))
    a, b, c = (np.asarray(picture.convert("L")).astype(float) for picture in pictures)
    assert np.abs(a - b).mean() < 1
    assert np.abs(a - c).mean() < 1


def test_two_volumes_are_drawn_on_one_grid() -> None:
    fine, coarse = scan((64, 72, 60), np.eye(3)), scan((64, 72, 12))
    assert Image.open(io.BytesIO(draw(coarse, like=fine))).size == Image.open(io.BytesIO(draw(fine))).size


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib.figure"])
def test_a_missing_extra_says_what_to_type(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SetupError, match=r"pip install '\.\[report\]'"):
        write_report(tmp_path / "x.html", []) if missing == "jinja2" else draw(scan((8, 8, 8)))
