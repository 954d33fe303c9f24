"""Every malformed or odd file of the catalogue ends as the catalogue says."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from phantoms import save

from isomorph import io

SHARED = Path(__file__).resolve().parents[2] / "shared"
SCRIPT = SHARED / "tools" / "bad_inputs.py"
TABLE = SHARED / "tools" / "bad_inputs.json"
ORACLE = json.loads(TABLE.read_text()) if TABLE.exists() else {}
ABSENT = f"{SCRIPT} is absent: it builds the malformed files"
# One row, so that its absence is reported as one skip.
CASES = list(ORACLE) or [pytest.param("", marks=pytest.mark.skip(reason=ABSENT))]
REAL = sorted((SHARED / "data" / "real").rglob("*.nii.gz"))
WHOLE = [p for p in REAL if p.parent.name == "ms" or p.name == "flair_1mm.nii.gz"]
BRAIN = [p for p in REAL if p not in WHOLE and "lesion" not in p.name] + [SHARED / "data/t1/sub-01_T1w.nii.gz"]


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    if not SCRIPT.exists():
        pytest.skip(ABSENT)
    folder = tmp_path_factory.mktemp("oracle") / "files"
    subprocess.run([sys.executable, "-W", "ignore", str(SCRIPT), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", CASES, ids=ascii)
def test_each_bad_input_ends_as_the_catalogue_says(oracle, name):
    path, expected = oracle / name, ORACLE[name]
    before = _digest(path)
    verdict = io.check(path)
    assert verdict.outcome == expected["expect"], verdict
    if re.fullmatch(r"[EW]\d{3}", expected["code"] or ""):
        assert verdict.codes == [expected["code"]], verdict
    for message in verdict.messages:
        assert re.fullmatch(r"[EW]\d{3} \S.*", message)
        assert len(message) <= 300
    assert verdict.file.isprintable()
    assert _digest(path) == before, "the input was touched"


def _digest(path):
    if path.is_file() and path.stat().st_size < 1e8:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return None


def test_a_bomb_is_refused_from_its_header_within_bounds(oracle):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "from isomorph import io; v = io.check(sys.argv[1]);"
        "print(v.codes[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(oracle / "B18_bomb.nii.gz")], check=True, capture_output=True, text=True
    )
    code, megabytes = done.stdout.split()
    assert code == "E205"
    assert int(megabytes) < 2000


@pytest.mark.parametrize("name", ["E10_ct_hu.nii.gz", "E11_ct_pad.nii.gz", "E13_ct_metal.nii.gz"])
def test_a_ct_is_recognised_and_kept_in_hounsfield_units(oracle, name):
    scan = io.read(oracle / name)
    assert scan.source["modality"] == "ct"
    assert scan.volume.data[0, 32, 32, 20].item() in (30, 30000)


def test_a_ct_stored_too_high_is_corrected_only_when_said_to_be_a_ct(oracle):
    path = oracle / "E12_ct_plus1024.nii.gz"
    assert io.read(path).volume.data.min() == 24
    assert io.read(path, ct=True).volume.data.min() == -1000


@pytest.mark.parametrize("padding", [-2000, -3024])
def test_what_lies_beyond_the_gantry_says_nothing_of_the_scale_of_a_ct(oracle, tmp_path, padding):
    scan = io.read(oracle / "E12_ct_plus1024.nii.gz").volume
    scan.data[:, :3] = padding
    found = io.read(save(scan, tmp_path / "padded.nii.gz"), ct=True)
    assert found.volume.data[0, 32, 32, 20].item() == pytest.approx(30, abs=1)
    assert "W503" in {notice.code for notice in found.warnings}


@pytest.mark.parametrize(
    "name", ["E24_f64_1e300.nii.gz", "E25_tiny1e-40.nii.gz", "D_slope_1e38.nii", "D_slope_1e-38.nii"]
)
def test_extreme_values_keep_their_contrast(oracle, name):
    scan, plain = io.read(oracle / name), io.read(oracle / "Z00_ok.nii.gz")
    ours, reference = scan.volume.data.flatten(), plain.volume.data.flatten()
    assert scan.source["factor"] != 1
    assert abs((ours @ reference) / (ours.norm() * reference.norm()) - 1) < 1e-4


def test_metres_and_microns_become_millimetres(oracle):
    spacings = [io.read(oracle / f"{n}.nii").volume.spacing for n in ("F18_metres", "F19_microns", "F20_units0")]
    for spacing in spacings:
        assert spacing == pytest.approx((3, 3, 4), rel=1e-5)


@pytest.mark.parametrize("path", [p for p in WHOLE if p.exists()], ids=lambda p: p.name)
def test_whole_heads_of_real_patients_pass_without_a_word(path):
    assert io.check(path).codes == []


@pytest.mark.parametrize("path", [p for p in BRAIN if p.exists()], ids=lambda p: p.name)
def test_real_stripped_brains_pass_with_a_word_about_the_skull(path):
    assert io.check(path).codes == ["W509"]
