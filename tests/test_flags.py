"""Each option of `isomorph predict`, on a phantom and on a real scan, must show in what is written; and each wrong use
of one ends in a line that names what is wrong and what to do."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from brains import finder_file, network_file
from phantoms import CARD, LESION, save, world_of
from typer.main import get_command
from typer.testing import CliRunner

from isomorph import cli, io
from isomorph.nets import UNet
from isomorph.predict.prepare import prepare
from isomorph.space import onto
from isomorph.volume import Volume
from isomorph.weights import save_model

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"  # the chronic stroke has a mask, and is stripped


@dataclass(frozen=True)
class Case:
    """One scan with its lesion, and a folder to write into."""

    scan: Path
    mask: Path
    folder: Path
    model: Path
    name: str

    @property
    def out(self) -> Path:
        return self.folder / "t1.nii.gz"

    def run(self, *options: object, scan: Path | None = None, model: Path | None = None) -> tuple[dict[str, Any], str]:
        """The sidecar, and what was said."""
        say = ["predict", scan or self.scan, self.out, "--model", model or self.model, *options]
        done = CliRunner().invoke(cli.app, [*map(str, say)])
        assert done.exit_code == 0, done.output
        return json.loads(io.sidecar_path(self.out).read_text()), done.output


@pytest.fixture(params=["phantom", "real"])
def case(request: pytest.FixtureRequest, phantom: Volume, identity_file: Path, tmp_path: Path) -> Case:
    if request.param == "real":
        files = REAL / "stroke_t2_1mm.nii.gz", REAL / "stroke_t2_1mm_lesion.nii.gz"
        if not files[0].exists():
            pytest.skip("no real scans in ../shared/data")
    else:
        near = np.linalg.norm(world_of(phantom.shape, phantom.affine) - LESION, axis=-1) < 6
        mask = phantom.with_data(torch.tensor(near)[None].float())
        files = save(phantom, tmp_path / "scan.nii.gz"), save(mask, tmp_path / "mask.nii.gz")
    return Case(*files, tmp_path, identity_file, request.param)


def fast(case: Case) -> None:
    card, _ = case.run("--device", "cpu", "--threads", 1, "--precision", "bf16", "--no-flip")
    assert (card["device"], card["threads"], card["precision"]) == ("cpu", 1, "bf16")
    assert card["options"]["flip"] is False
    assert card["model"]["name"] == "identity"


def exams(case: Case) -> None:
    exam = case.folder / "exam"
    exam.mkdir()
    (exam / "scan.nii.gz").write_bytes(case.scan.read_bytes())
    (exam / "bad.nii.gz").write_bytes(b"")
    card, said = case.run("--exams", "--no-flip", scan=exam)
    assert card["input"]["file"] == "scan.nii.gz"
    assert "W604" in {warning["code"] for warning in card["warnings"]}
    assert "W604 left out of the exam: E101 bad.nii.gz" in said


def hounsfield(case: Case) -> None:
    image = nib.load(case.scan)
    x = image.get_fdata()
    x = np.where(x > 0.05 * np.percentile(x, 99.5), 80 * x / np.percentile(x, 99), -1000)
    tomogram = save(Volume(torch.tensor(x, dtype=torch.float32)[None], image.affine), case.folder / "ct.nii.gz")
    card, _ = case.run("--ct", "--no-flip", scan=tomogram)
    assert card["options"]["ct"] is True
    assert 60 < card["window"][1] <= 80
    assert "W510" not in {warning["code"] for warning in card["warnings"]}


def compatible(case: Case) -> None:
    torch.manual_seed(0)
    network, path = UNet(1, features=2, levels=3).eval(), case.folder / "original.safetensors"
    card = {"name": "original", "network": "unet", "arguments": {"features": 2, "levels": 3}, "compat": "freesurfer"}
    save_model(path, network, card | CARD, half=False)
    card, _ = case.run("--compat", "freesurfer", "--no-flip", model=path)
    assert (card["options"]["compat"], card["output"]["dtype"]) == ("freesurfer", "uint8")
    card, _ = case.run("--compat", "none", "--no-flip", "--overwrite", model=path)
    assert (card["options"]["compat"], card["output"]["dtype"]) == ("none", "float32")


def lesions(case: Case) -> None:
    images = {}
    for word in ("inpaint", "keep"):
        say = "--lesions", word, "--lesion-mask", case.mask, "--no-flip", "--overwrite"
        card, _ = case.run(*say)
        assert (card["options"]["lesions"], card["options"]["lesion_mask"]) == (word, case.mask.name)
        images[word] = nib.load(case.out).get_fdata()
    changed = np.abs(images["keep"] - images["inpaint"]) > 5
    true = io.load(case.mask, kind="image")
    volume = float((true.data > 0.5).sum()) * np.prod(true.spacing)
    assert 0.3 * volume < changed.sum() < 4 * volume  # mm3: of the lesion and its rim, nowhere else


def found(case: Case) -> None:
    mask, network = case.folder / "found.nii.gz", finder_file(case.folder / "finder.safetensors")
    card, _ = case.run("--lesions", "keep", "--finder", network, "--write-lesion-mask", mask, "--no-flip")
    image, t1 = nib.load(mask), nib.load(case.out)
    np.testing.assert_allclose(image.affine, t1.affine, atol=1e-6)
    assert (image.shape, image.get_data_dtype()) == (t1.shape, np.uint8)
    ready = prepare(io.read(case.scan).volume, 4)
    bright = onto(ready.image, ready.shape, ready.affine).data[0] > 0.75  # as this network sees it
    assert ((image.get_fdata() > 0) != (bright & ready.view).numpy()).mean() < 1e-4  # but for rounding
    assert card["lesions"]["volume_mm3"] == pytest.approx(float(bright.sum()), rel=1e-2)
    assert json.loads(io.sidecar_path(mask).read_text())["fingerprint"] == card["fingerprint"]


def uncertain(case: Case) -> None:
    path = case.folder / "wide.nii.gz"
    card, _ = case.run("--uncertainty", path, "--no-flip")
    wide, t1 = nib.load(path), nib.load(case.out)
    np.testing.assert_array_equal(wide.affine, t1.affine)
    assert wide.shape == t1.shape
    assert wide.get_fdata().max() > 0
    assert json.loads(io.sidecar_path(path).read_text())["fingerprint"] == card["fingerprint"]


def segmented(case: Case) -> None:
    labels, table = case.folder / "labels.nii.gz", case.folder / "volumes.csv"
    network = network_file(case.folder / "eyes.safetensors")
    card, _ = case.run("--segmentation", labels, "--volumes", table, "--segmenter", network, "--no-flip")
    image, t1 = nib.load(labels), nib.load(case.out)
    np.testing.assert_allclose(image.affine, t1.affine, atol=1e-6)
    assert (image.shape, image.get_data_dtype()) == (t1.shape, np.uint8)
    assert json.loads(io.sidecar_path(labels).read_text())["fingerprint"] == card["fingerprint"]
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["file"] == case.scan.name


def on_its_grid(case: Case) -> None:
    case.run("--grid", "input", "--no-flip")
    t1, scan = nib.load(case.out), nib.load(case.scan)
    assert t1.shape == scan.shape
    np.testing.assert_allclose(t1.affine, scan.affine, atol=1e-4)
    case.run("--grid", "1mm", "--no-flip", "--overwrite")
    np.testing.assert_allclose(nib.load(case.out).header.get_zooms(), 1, atol=1e-5)


def little_memory(case: Case) -> None:
    free, _ = case.run("--no-flip")
    before = nib.load(case.out).get_fdata()
    card, _ = case.run("--max-memory", 8, "--no-flip", "--precision", free["precision"], "--overwrite")
    assert card["options"]["max_memory"] == 8
    np.testing.assert_allclose(nib.load(case.out).get_fdata(), before, atol=1e-3)


def overwritten(case: Case) -> None:
    first, _ = case.run("--no-flip")
    second, _ = case.run("--no-flip", "--grid", "input", "--overwrite")
    assert first["fingerprint"] != second["fingerprint"]
    assert io.described(case.out, second)


def strict(case: Case) -> None:
    if case.name == "phantom":
        case.run("--strict", "--no-flip")
        return
    done = CliRunner().invoke(
        cli.app, ["predict", str(case.scan), str(case.out), "--model", str(case.model), "--strict"]
    )
    assert done.exit_code == 5
    assert re.search(r"ERROR W509 stroke_t2_1mm.nii.gz: .*; refused because of --strict", done.output)
    assert not case.out.exists()


def reported(case: Case) -> None:
    page = case.folder / "page.html"
    case.run("--report", page, "--no-flip", "--debug")
    assert page.read_text().count("<img") == 2


FLAGS: dict[Callable[[Case], None], str] = {
    exams: "--exams",
    fast: "--model --device --threads --precision --no-flip",
    hounsfield: "--ct",
    compatible: "--compat",
    lesions: "--lesions --lesion-mask",
    found: "--finder --write-lesion-mask",
    uncertain: "--uncertainty",
    segmented: "--segmentation --volumes --segmenter",
    on_its_grid: "--grid",
    little_memory: "--max-memory",
    overwritten: "--overwrite",
    strict: "--strict",
    reported: "--report --debug",
}


@pytest.mark.parametrize("check", FLAGS, ids=lambda check: check.__name__)
def test_each_option_shows_in_what_is_written(check: Callable[[Case], None], case: Case) -> None:
    check(case)


def test_no_option_is_left_out() -> None:
    options = get_command(cli.app).commands["predict"].params  # pyright: ignore[reportAttributeAccessIssue]
    there = {name for option in options for name in option.opts if name.startswith("--")}
    assert there - {"--help"} == {flag for flags in FLAGS.values() for flag in flags.split()}


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ("--model none", 6, "E904 no model called 'none'; choose from"),
        ("--model {bad}", 6, "E902 bad.safetensors is damaged"),
        ("--exams", 2, "--exams takes folders, 'scan.nii.gz' is none; give the folder of the exams"),
        ("--device abacus", 2, "--device is 'abacus'; choose from auto, cpu"),
        ("--threads 0", 2, "--threads is 0; give 1 or more"),
        ("--precision fp8", 2, "--precision is 'fp8'; choose from auto"),
        ("--compat spm", 2, "--compat is 'spm'; choose from"),
        ("--compat github", 6, "E906 identity .*; "),
        ("--lesions paint", 2, "--lesions is 'paint'; choose from inpaint"),
        ("--finder none", 2, "--finder is for --lesions keep without a mask; say so"),
        ("--finder none --lesions keep", 6, "E904 no model called 'none'; choose from"),
        ("--lesions keep --finder {model}", 6, "E906 identity does not find lesions in a scan; choose"),
        ("--write-lesion-mask {folder}/mask.nii", 2, "--write-lesion-mask writes the mask that is used; add --lesions"),
        (
            "--lesions keep --finder {finder} --write-lesion-mask {folder}/mask.txt",
            2,
            "output name 'mask.txt' must end",
        ),
        (
            "--lesions keep --finder {finder} --write-lesion-mask {folder}/t1.nii",
            2,
            "--write-lesion-mask t1.nii is another output too, or shares its JSON; rename",
        ),
        ("--lesions keep --finder {finder} --write-lesion-mask {scan}", 5, "E701 scan.nii.gz: .*; choose another"),
        ("--lesions keep --finder {finder} --compat github", 6, "E906 identity .*; "),
        ("--lesion-mask {folder}/gone.nii.gz", 5, "E108 scan.nii.gz: gone.nii.gz cannot be opened .*; check the path"),
        ("--lesion-mask {empty}", 5, "E507 scan.nii.gz: no lesion of the mask lies in the scan; give the mask"),
        ("--uncertainty {folder}/wide.txt", 2, "output name 'wide.txt' must end in .*; add one"),
        ("--uncertainty {folder}/t1.nii", 2, "--uncertainty t1.nii is another output too, or shares its JSON; rename"),
        ("--uncertainty {scan}", 5, "E701 scan.nii.gz: the output scan.nii.gz is the input itself.*; choose another"),
        ("--uncertainty {there}", 5, "E705 scan.nii.gz: there.nii.gz exists already; choose another"),
        ("--segmenter none --segmentation {folder}/labels.nii", 6, "E904 no model called 'none'; choose from"),
        ("--segmenter none", 2, "--segmenter is for --segmentation and --volumes; add one of them"),
        ("--segmentation {folder}/labels.txt", 2, "output name 'labels.txt' must end in .*; add one"),
        ("--volumes {folder}/table.txt", 2, "--volumes is 'table.txt'; give the name of a table that ends in .csv"),
        ("--volumes {foreign}", 2, "--volumes: E705 foreign.csv exists and is no table of volumes.*; choose another"),
        ("--segmentation {there} --segmenter {eyes}", 5, "E705 scan.nii.gz: there.nii.gz exists already; choose"),
        ("--grid 2mm", 2, "--grid is '2mm'; choose from 1mm, input"),
        ("--max-memory 0", 2, "--max-memory is 0.0; give GB, more than 0"),
        (
            "--max-memory 0.001",
            5,
            "E806 scan.nii.gz: this image needs about .* GB, --max-memory allows 0.001; allow more",
        ),
        ("--report {folder}/page.txt", 2, "page.txt.* must end in .html"),
        ("--report {there}", 2, "there.nii.gz.* must end in .html"),
    ],
)
def test_each_refusal_names_what_is_wrong_and_what_to_do(
    options: str, code: int, told: str, phantom: Volume, phantom_file: Path, identity_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files = {"scan": phantom_file, "folder": tmp_path, "bad": tmp_path / "bad.safetensors"}
    files["bad"].write_bytes(b"bad")
    (tmp_path / "foreign.csv").write_text("a,b")
    files["foreign"], files["eyes"] = tmp_path / "foreign.csv", network_file(tmp_path / "eyes.safetensors")
    files["empty"] = save(phantom.with_data(phantom.data * 0), tmp_path / "empty.nii.gz")
    files |= {"model": identity_file, "finder": finder_file(tmp_path / "finder.safetensors")}
    files["there"] = save(phantom, tmp_path / "there.nii.gz")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model = [] if "--model" in options else ["--model", str(identity_file)]
    say = ["isomorph", "predict", str(phantom_file), str(tmp_path / "t1.nii.gz"), "--no-flip", *model]
    monkeypatch.setattr("sys.argv", [*say, *options.format(**files).split()])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == code, said
    assert len(said.splitlines()) == 1
    assert re.search(told, said), said
    assert re.search(r"; \w+", said), said  # what to do
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
