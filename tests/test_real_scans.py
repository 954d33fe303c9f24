"""The shipped model on real brains: what comes out must be a T1 of the brain that went in."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from isomorph import io
from isomorph.align import aligned
from isomorph.demo import compare
from isomorph.evaluate import ncc
from isomorph.evaluate.brain import rough_brain_mask
from isomorph.evaluate.thin import thicken
from isomorph.predict import synthesise
from isomorph.space import canonical_grid, mirror, resample
from isomorph.train.brightness import bias_corrected, tissue_levels

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no real scans in ../shared/data")

# Which class of brightness, from dark to bright, is which tissue.
TISSUES = {"T1": ("fluid", "grey", "white"), "T2": ("white", "grey", "fluid"), "FLAIR": ("fluid", "white", "grey")}
SCANS = {
    "ms/patient12_study1_T1W": "T1",
    "ms/patient12_study1_T2W": "T2",
    "ms/patient12_study1_FLAIR": "FLAIR",
    "ms/patient12_study2_T1W": "T1",
    "ms/patient12_study2_T2W": "T2",
    "ms/patient12_study2_FLAIR": "FLAIR",
    "ms/patient01_study1_T1W": "T1",
    "ms/patient01_study1_T2W": "T2",
    "ms/patient01_study1_FLAIR": "FLAIR",
    "flair_1mm": "FLAIR",
    "t1_0.8mm": "T1",
    "stroke_t2_1mm": "T2",
}


@cache
def scan(name):
    return io.load(REAL / f"{name}.nii.gz")


@cache
def t1(name):
    return synthesise(scan(name)).volume


def tissue_masks(name):
    """Fluid, grey and white matter of the central brain, from the brightness of the input alone."""
    x = resample(scan(name), *canonical_grid(scan(name))).data[0].numpy()
    x = ndimage.gaussian_filter(x, 1)
    inside = central_brain(x) & (x > 0.02 * x.max())
    levels = np.array(tissue_levels(x[inside]))
    classes = np.abs(x[..., None] - levels).argmin(-1)
    masks = {tissue: inside & (classes == k) for k, tissue in enumerate(TISSUES[SCANS[name]])}
    # Where tissues meet, a voxel is a mixture: keep what is one tissue all around.
    return {tissue: torch.from_numpy(ndimage.binary_erosion(mask)) for tissue, mask in masks.items()}


def central_brain(x):
    """An ellipsoid well inside the skull, hung from the top of the head."""
    head = np.argwhere(ndimage.gaussian_filter(x, 3) > 0.25 * np.percentile(x, 98))
    low, high = head.min(0), head.max(0)
    centre = np.array([*(low + high)[:2] / 2, high[2] - 70.0])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in x.shape], indexing="ij"), -1)
    return (((grid - centre) / (45.0, 55.0, 40.0)) ** 2).sum(-1) < 1


@pytest.mark.parametrize("name", SCANS)
def test_white_is_brighter_than_grey_is_brighter_than_fluid(name):
    masks, y = tissue_masks(name), t1(name).data[0]
    level = {tissue: y[mask].median().item() for tissue, mask in masks.items()}
    assert all(mask.sum() > 100 for mask in masks.values())
    assert level["white"] > level["grey"] + 3
    assert level["grey"] > level["fluid"] + 10
    assert level["white"] == pytest.approx(110, abs=20)


@pytest.mark.parametrize("name", SCANS)
def test_the_output_is_1_mm_and_covers_the_scan(name):
    y = t1(name)
    assert y.spacing == pytest.approx((1, 1, 1), abs=1e-6)
    extent = np.sort(np.array(scan(name).shape) * scan(name).spacing)
    assert np.sort(y.shape) == pytest.approx(extent, abs=1)
    assert y.data.isfinite().all()
    assert y.data.min() >= 0


@pytest.mark.parametrize("name", ["ms/patient12_study1_FLAIR", "stroke_t2_1mm"])
def test_left_is_left(name):
    """The output resembles the scan more than it resembles the mirrored scan, and so does its shape."""
    y = t1(name)
    x = resample(scan(name), y.shape, y.affine)
    head = (x.data[0] > 0.1 * x.data.max()).float()
    out = (y.data[0] > 20).float()
    everywhere = torch.ones(y.shape, dtype=torch.bool)
    straight = ncc(out, head, mask=everywhere, data_range=1.0)
    mirrored = ncc(out, mirror(x.with_data(head[None])).data[0], mask=everywhere, data_range=1.0)
    assert straight > mirrored + 0.005


@cache
def still(name):
    """The synthetic T1 at the place of that of the T1W: the patient moved by 2 to 3 mm before the other scans, as the
    registration of the scans themselves shows."""
    reference = t1("ms/patient12_study1_T1W")
    return aligned(t1(f"ms/patient12_study1_{name}"), reference) if name != "T1W" else reference


def agreement(first, second):
    """Correlation of two synthetic T1s of one day inside the brain."""
    reference = still("T1W")
    data = [resample(still(name), reference.shape, reference.affine).data[0] for name in (first, second)]
    mask = rough_brain_mask(reference) & (data[0] > 0) & (data[1] > 0)
    assert 1.15e6 < mask.sum() < 1.9e6  # mm3: a brain, of which the segmentation of this T1 says 1.26e6
    return ncc(*data, mask=mask, data_range=110.0)


PAIRS = [("T1W", "T2W"), ("T1W", "FLAIR"), ("T2W", "FLAIR")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_three_contrasts_of_one_day_agree_to_085(first, second):
    pytest.importorskip("ants")
    assert agreement(first, second) >= 0.85


@cache
def sharp_t1(*, unbiased):
    """The T1 of 0.8 mm, white matter near 110; with the bias field that its coil left, or without."""
    x = scan("t1_0.8mm").data[0].numpy()
    x = bias_corrected(x) if unbiased else x
    return scan("t1_0.8mm").with_data(torch.from_numpy(x * (110 / np.percentile(x[x > 0], 85)))[None].float())


def scores_of_thick(source, truth):
    """Of a T1 thinned to 5 mm coronal slices and brought back, against a sharp one."""
    thick = thicken(source, axis=1, spacing=5.0)
    result = synthesise(thick).volume
    return compare(thick, result, resample(truth, result.shape, result.affine))


def test_a_thick_t1_comes_back_nearer_to_the_t1_than_interpolated():
    """To the T1 without the bias of the coil: what is made is a T1 without bias, and against the biased scan even the
    scan itself, its bias taken off, scores less (22.2 dB) than interpolation, which keeps the bias (23.2 dB)."""
    pytest.importorskip("ants")
    scores = scores_of_thick(sharp_t1(unbiased=False), sharp_t1(unbiased=True))
    assert scores["isomorph"]["psnr"] > scores["cubic interpolation"]["psnr"] + 1
    assert scores["isomorph"]["ssim"] > scores["cubic interpolation"]["ssim"] + 0.02


@pytest.mark.xfail(reason="the weights reach 22.3 dB, cubic 22.8 dB: see the model card", strict=True)
def test_a_thick_t1_without_bias_comes_back_nearer_than_interpolated():
    pytest.importorskip("ants")
    scores = scores_of_thick(sharp_t1(unbiased=True), sharp_t1(unbiased=True))
    assert scores["isomorph"]["psnr"] > scores["cubic interpolation"]["psnr"]
