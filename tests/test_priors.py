"""Contrast priors measured on images that were painted with known ones."""

import math
import tomllib
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from isomorph import cli, config
from isomorph.errors import NothingFound, Refusal, SetupError, UsageError
from isomorph.labels import parcelled
from isomorph.pairs import pairs
from isomorph.priors import FEWEST, MAD, as_toml, estimate, fit, measure
from isomorph.space import window
from isomorph.synth.measured import Measured
from isomorph.volume import Volume

LEVELS = {24: 0.2, 3: 0.6, 2: 1.0}  # fluid, cortex, white matter
NAMES = {24: "fluid", 3: "cortex", 2: "white"}
THICK = np.diag([1.0, 1.0, 4.0, 1.0])


def painted(levels=LEVELS, std=0.05, affine=THICK, seed=0, n=30) -> tuple[Volume, Volume]:
    """Three shells of known brightness and texture, and their labels."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n)] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    labels = np.select([radius < 0.6, radius < 0.8, radius < 0.95], [2, 3, 24])
    rng = np.random.default_rng(seed)
    image = np.zeros(labels.shape)
    for number, level in levels.items():
        image[labels == number] = level
    image = np.where(labels > 0, image + std * rng.standard_normal(labels.shape), 0)
    return tuple(Volume(torch.from_numpy(x.astype(np.float32))[None], affine) for x in (image, labels))


def written(folder: Path, name: str, volume: Volume) -> Path:
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(volume.data[0].numpy(), volume.affine), folder / name)
    return folder / name


@pytest.fixture
def three(tmp_path) -> tuple[Path, Path]:
    """Three scans whose levels differ by a known amount, as two folders."""
    for k, shift in enumerate((-0.02, 0.0, 0.02)):
        image, labels = painted({number: level + shift for number, level in LEVELS.items()}, seed=k)
        image = image.with_data(image.data * 400)
        written(tmp_path / "scans", f"{k}.nii.gz", image)
        written(tmp_path / "maps", f"seg{k}.nii.gz", labels)
    return tmp_path / "scans", tmp_path / "maps"


def test_levels_and_texture_come_back_with_the_variance_scaled():
    found = measure(*painted(), raw=True)
    assert found.keys() == {"fluid", "cortex", "white"}
    for number, level in LEVELS.items():
        median, std = found[NAMES[number]]
        assert median == pytest.approx(level, abs=0.005)
        assert std == pytest.approx(0.05 * math.sqrt(4), rel=0.06)  # voxels of 4 mm³ for a grid of 1 mm³
    assert measure(*painted(), raw=True, target=4.0)["white"][1] == pytest.approx(0.05, rel=0.06)


def test_the_median_deviation_is_that_of_a_normal_distribution():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(200_001))
    assert MAD * x.abs().median().item() == pytest.approx(1, rel=0.01)


def test_a_few_wrong_labels_do_not_matter():
    image, labels = painted()
    clean = measure(image, labels, raw=True)["white"]
    wrong = labels.data.clone()
    wrong[0, 15, 15, 10:20] = 24
    image.data[0, 14, 14, 10:20] = 50.0
    robust = measure(image, labels.with_data(wrong), raw=True)["white"]
    assert robust == pytest.approx(clean, rel=0.03)


def test_bright_tissue_becomes_one_whatever_the_scanner():
    image, labels = painted(std=0.02)
    a, b = (measure(image.with_data(image.data * gain), labels) for gain in (1.0, 700.0))
    assert a["white"] == pytest.approx(b["white"], rel=1e-3)
    assert 0.9 < a["white"][0] <= 1
    assert a["cortex"][0] / a["white"][0] == pytest.approx(0.6, abs=0.01)


def test_ct_is_clipped_as_prediction_clips_it():
    image, labels = painted({24: 8.0, 3: 37.0, 2: 28.0}, std=0.5)
    image.data[labels.data == 0] = -1000.0
    found = measure(image, labels, ct=True)
    assert found["cortex"][0] == pytest.approx(37 / 80, abs=0.003)


def test_labels_on_another_grid_are_brought_to_the_scan():
    image, labels = painted()
    affine = np.diag([-0.5, 0.5, 2.0, 1.0])
    affine[:3, 3] = [29.25, -0.25, -1.0]
    fine = labels.data.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3).flip(1)
    got, want = measure(image, Volume(fine, affine), raw=True), measure(image, labels, raw=True)
    assert got == want


def test_background_is_air_only_where_the_whole_head_is_labelled():
    image, labels = painted()
    assert "air" not in measure(image, labels, raw=True)
    labels.data[0, :3] = 511
    assert measure(image, labels, raw=True)["air"] == (0, 0)


@pytest.mark.parametrize("values", [0.5, 9999.0])
def test_what_is_no_segmentation_is_refused(values):
    image, labels = painted()
    with pytest.raises(Refusal, match="E506"):
        measure(image, labels.with_data(torch.full_like(labels.data, values)))


def smooth_scan(top: float, n: int = 40) -> torch.Tensor:
    """Brightness that changes all over a head, in whole numbers up to a highest one."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n)] * 3, indexing="ij")
    noise = 0.02 * np.random.default_rng(0).standard_normal((n, n, n))
    inside = i**2 + j**2 + k**2 < 0.8
    return torch.from_numpy(((0.5 + 0.2 * i + 0.2 * j * k + noise) * inside * top).round().astype(np.float32))[None]


@pytest.mark.parametrize("top", [30_000, 1500, 255, 100])
def test_a_scan_is_no_segmentation(top):
    scan = Volume(smooth_scan(top), THICK)
    with pytest.raises(Refusal, match=r"E506 the segmentation (holds \d+ numbers|looks like a scan)"):
        measure(scan, scan)
    repeated = Volume(scan.data.repeat_interleave(5, 3), np.diag([1.0, 1.0, 0.8, 1.0]))
    with pytest.raises(Refusal, match="E506"):
        measure(scan, repeated)
    hounsfield = torch.where(scan.data > 0, scan.data, -1000.0)  # alike in air alone
    with pytest.raises(Refusal, match="E506"):
        measure(scan, scan.with_data(hounsfield))


def test_a_map_of_thick_slices_or_of_one_is_a_segmentation():
    image, labels = painted()
    thick = Volume(labels.data[..., 2::6], np.diag([1.0, 1.0, 24.0, 1.0]))
    slice_ = Volume(labels.data[..., 15:16], THICK)
    for map_ in (thick, slice_):
        assert "white" in measure(image, map_, raw=True)


def test_more_numbers_than_a_label_map_has_are_refused():
    image, _ = painted(n=40)
    blocks = torch.arange(20**3).reshape(1, 20, 20, 20)
    for axis in (1, 2, 3):
        blocks = blocks.repeat_interleave(2, axis)
    with pytest.raises(Refusal, match="E506 the segmentation holds 8000 numbers, a label map 2000 at most"):
        measure(image, Volume(blocks, THICK))


def test_what_is_labelled_outside_the_brain_is_not_what_becomes_one():
    image, labels = painted(std=0.02)
    clean = measure(image, labels)["white"]
    outside = labels.data == 0
    for number in (165, 258, 259, 502, 511):  # skull, head and eyes of SAMSEG; artery and skin
        bright = image.with_data(torch.where(outside, 1.8, image.data))
        assert measure(bright, labels.with_data(torch.where(outside, number, labels.data)))["white"] == clean


def test_what_the_label_map_does_not_cover_is_no_air():
    image, labels = painted()
    labels.data[0, :3] = 511
    image.data[..., :12] = 249  # a neck
    covered = window(labels, (0, 0, 14), (30, 30, 16))
    turned = covered.affine.copy()
    turned[0, 1] = 0.02  # grids that are rotated are interpolated by other means
    for map_ in (covered, Volume(covered.data, turned), covered.with_data(covered.data.int())):
        assert measure(image, map_, raw=True)["air"] == (0, 0)


def test_deviations_between_scans_are_widened_five_times():
    scans = [{"white": (w, s)} for w, s in ((0.9, 0.04), (1.0, 0.05), (1.1, 0.06))]
    priors = fit(scans)
    assert priors.means["white"] == pytest.approx((1.0, 0.5))
    assert priors.stds["white"] == pytest.approx((0.05, 0.05))
    assert fit(scans, factor=1).means["white"] == pytest.approx((1.0, 0.1))


def test_a_tissue_that_one_scan_knows_has_a_deviation_all_the_same():
    priors = fit([{"white": (1.0, 0.05), "cortex": (0.6, 0.05)}, {"white": (0.9, 0.05)}])
    assert priors.means["cortex"][1] > 0
    assert priors.scans == {"cortex": 1, "white": 2}


def test_the_table_is_what_the_contrast_takes(three, tmp_path):
    out = tmp_path / "mine.toml"
    lines = []
    assert estimate(*three, out, raw=True, report=lines.append) == 0
    assert len(lines) == 3
    assert all("3 tissues" in line for line in lines)
    (tmp_path / "recipe.toml").write_text(
        'name = "x"\n[generator.contrast]\ninclude = "mine.toml"\nother = [0.1, 0.2]\n'
    )
    contrast = config.load(tmp_path / "recipe.toml").generator.channels[0].contrast
    assert isinstance(contrast, Measured)
    assert contrast.other == (0.1, 0.2)
    assert contrast.means["white"] == pytest.approx((400, 5 * 8), rel=0.06)
    assert contrast.stds["cortex"][0] == pytest.approx(0.05 * 400 * 2, rel=0.06)
    assert 300 < contrast.draw(Random(0))["means"]["white"] < 500
    pasted = tmp_path / "pasted.toml"
    pasted.write_text('name = "x"\n' + out.read_text())
    assert config.load(pasted).generator.channels[0].contrast == Measured(means=contrast.means, stds=contrast.stds)


def test_numbers_are_written_as_toml():
    scans = [{"white": (1.0, 0.0)}, {"white": (1e-7, 123456.789)}]
    table = tomllib.loads(as_toml(fit(scans), "a note"))["generator"]["contrast"]
    assert table["stds"]["white"] == pytest.approx([61728.4, 436485], rel=1e-4)


def test_nothing_is_replaced_without_being_told(three, tmp_path):
    out = tmp_path / "mine.toml"
    out.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        estimate(*three, out)
    assert out.read_text() == "precious"
    assert estimate(*three, out, overwrite=True) == 0
    assert "kind" in out.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps", "mine.toml", "scans"]


def test_a_bad_scan_does_not_stop_the_others(three, tmp_path):
    (three[0] / "1.nii.gz").write_bytes(b"")
    lines = []
    assert estimate(*three, tmp_path / "mine.toml", report=lines.append) == 4
    assert sum(line.startswith("refused: 1.nii.gz with seg1.nii.gz: E101") for line in lines) == 1
    for scan in three[0].iterdir():
        scan.write_bytes(b"")
    assert estimate(*three, tmp_path / "other.toml") == 5
    assert not (tmp_path / "other.toml").exists()


@pytest.mark.parametrize(
    ("number", "whole"),
    [
        *((1000, 3), (1035, 3), (1036, 1036), (2035, 42), (11100, 3), (11175, 3), (12175, 42), (12176, 12176)),
        *((3035, 2), (4000, 41), (5001, 2), (5002, 41), (5003, 5003), (251, 2), (255, 2), (256, 256), (17, 17)),
    ],
)
def test_a_parcel_is_part_of_a_structure(number, whole):
    assert parcelled(number) == whole


def test_parcels_are_measured_with_what_they_are_parts_of():
    image, labels = painted()
    whole = measure(image, labels)
    parcels = labels.data.clone()
    for number, part in ((3, 1022), (42, 2035), (2, 251)):
        inside = torch.where(labels.data == number)
        half = tuple(axis[::2] for axis in inside)
        parcels[half] = part
    assert (parcels != labels.data).any()
    assert measure(image, labels.with_data(parcels)) == whole


def test_pairs_are_made_by_order_or_by_list(three, tmp_path):
    assert [(a.name, b.name) for a, b in pairs(*three)] == [(f"{k}.nii.gz", f"seg{k}.nii.gz") for k in range(3)]
    (tmp_path / "a.txt").write_text("scans/2.nii.gz\n\nscans/0.nii.gz\n")
    (tmp_path / "b.txt").write_text("maps/seg2.nii.gz\nmaps/seg0.nii.gz\n")
    listed = pairs(tmp_path / "a.txt", tmp_path / "b.txt")
    assert [(a.name, b.name) for a, b in listed] == [("2.nii.gz", "seg2.nii.gz"), ("0.nii.gz", "seg0.nii.gz")]


def test_a_folder_given_twice_writes_nothing(three, tmp_path):
    for given in (three[0], three[0] / "0.nii.gz"):
        with pytest.raises(UsageError, match="is given as a scan and as a segmentation"):
            estimate(given, given, tmp_path / "mine.toml")
    assert estimate(three[1], three[0], tmp_path / "mine.toml") == 5
    assert not (tmp_path / "mine.toml").exists()


def test_mistakes_are_told_before_any_work(three, tmp_path):
    with pytest.raises(UsageError, match="3 scans and 1 segmentations"):
        estimate(three[0], three[1] / "seg0.nii.gz", tmp_path / "x.toml")
    with pytest.raises(NothingFound, match="no image"):
        estimate(tmp_path / "nowhere", three[1], tmp_path / "x.toml")
    with pytest.raises(UsageError, match=r"must end in \.toml"):
        estimate(*three, tmp_path / "x.json")
    with pytest.raises(UsageError, match="factor"):
        estimate(*three, tmp_path / "x.toml", factor=0)
    with pytest.raises(UsageError, match="--raw and --ct contradict"):
        estimate(*three, tmp_path / "x.toml", raw=True, ct=True)
    with pytest.raises(SetupError, match="E702"):
        estimate(*three, tmp_path / "nowhere" / "x.toml")


def test_the_command_says_what_it_does(three, tmp_path):
    done = CliRunner().invoke(cli.app, ["priors", str(three[0]), str(three[1]), str(tmp_path / "x.toml"), "--raw"])
    assert done.exit_code == 0, done.output
    assert done.output.count("3 tissues") == 3
    assert tomllib.loads((tmp_path / "x.toml").read_text())["generator"]["contrast"]["kind"] == "measured"


def test_a_tissue_of_a_few_voxels_is_left_out():
    image, labels = painted()
    labels.data[0, 0, 0, : FEWEST - 1] = 31
    assert "choroid" not in measure(image, labels, raw=True)


# Priors that a recipe includes


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "x"\n' + text)
    return path


def test_tables_that_ship_go_by_name_and_channels_have_their_own(tmp_path):
    text = '[generator.contrast]\ninclude = "T1"\n[[generator.channels]]\n'
    text += '[[generator.channels]]\ncontrast = {include = "T2"}\n'
    first, second = (c.contrast for c in config.load(recipe(tmp_path, text)).generator.channels)
    assert first.means["white"][0] == 1.0
    assert second.means["fluid"][0] > second.means["white"][0]


def test_what_is_included_is_written_into_the_recipe(tmp_path):
    loaded = config.load(recipe(tmp_path, '[generator.contrast]\ninclude = "T1"\nmeans = {white = [2.0, 0.1]}\n'))
    table = config.to_dict(loaded)
    assert "include" not in table["generator"]["contrast"]
    assert config.from_dict(table) == loaded
    assert loaded.generator.channels[0].contrast.means["white"] == (2.0, 0.1)
    assert loaded.generator.channels[0].contrast.means["cortex"][0] == pytest.approx(0.575)


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ('"T7"', r"no contrast priors 'T7'; choose from \['T1'"),
        ("3", "no contrast priors"),
        ('"missing.toml"', "no contrast priors"),
        ('"broken.toml"', "are not TOML"),
        ('"empty.toml"', r"holds no \[generator.contrast\]"),
    ],
)
def test_priors_that_cannot_be_included_are_named(tmp_path, include, message):
    (tmp_path / "broken.toml").write_text("a = [")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(UsageError, match=message):
        config.load(recipe(tmp_path, f"[generator.contrast]\ninclude = {include}\n"))
