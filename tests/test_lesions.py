"""Lesions with known brightness: filled, or shown as a T1 would show them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import LESION, centred, save, scan, world_of
from scipy import ndimage

from isomorph.errors import Refusal, UsageError
from isomorph.predict import Lesions, Options, synthesise
from isomorph.predict.exam import fused
from isomorph.predict.lesions import FLUID, GREY, healed, kept, misplaced
from isomorph.predict.result import Result
from isomorph.predict.scans import predict_scans
from isomorph.volume import Volume
from isomorph.weights import load_model

SHAPE = (48, 48, 48)
AFFINE = centred(SHAPE, np.eye(3))


def volume(x: np.ndarray) -> Volume:
    return Volume(torch.tensor(x, dtype=torch.float32)[None], AFFINE)


def tissue() -> np.ndarray:
    """Grey (80) and white (110) matter in patches of some mm, as a T1 shows them, in air."""
    cloud = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 3)
    x = np.where(cloud > 0, 110.0, 80.0)
    return np.where(np.linalg.norm(world_of(SHAPE, AFFINE), axis=-1) < 22, x, 0.0)


def ball(radius: float = 5.0) -> np.ndarray:
    return np.linalg.norm(world_of(SHAPE, AFFINE), axis=-1) < radius


def test_the_core_of_a_very_large_lesion_is_filled_too() -> None:
    shape = (120, 120, 120)
    x = torch.full((1, *shape), 100.0)
    far = torch.from_numpy(np.linalg.norm(world_of(shape, centred(shape, np.eye(3))), axis=-1))
    mask = (far < 52).float()[None]
    x[mask > 0] = 900.0
    scan = Volume(x, centred(shape, np.eye(3)))
    filled = healed(scan, scan.with_data(mask)).data
    assert filled[mask > 0].max().item() < 101


@pytest.mark.parametrize(("gain", "level"), [(-2.0, 400.0), (-0.5, 90.0), (1.5, 0.0)])
@pytest.mark.parametrize("true", [70.0, 50.0, 95.0])
def test_a_lesion_gets_the_brightness_that_a_t1_would_show(gain: float, level: float, true: float) -> None:
    t1 = tissue()
    x = np.where(ball(), true, t1) * gain + level
    y = kept(volume(t1), volume(x), volume(ball().astype(float))).data[0].numpy()
    bent = GREY - (GREY - FLUID) * (1 - np.exp(-max(GREY - true, 0) / (GREY - FLUID)))
    assert np.median(y[ball(3)]) == pytest.approx(bent if true < GREY else true, abs=4)
    outside = ~ball(9)
    np.testing.assert_allclose(y[outside], t1[outside], atol=1e-3)


@pytest.mark.parametrize(
    ("shift", "spacing", "said"),
    [(0.0, 1.0, ""), (0.0, 0.5, "on another grid"), (30.0, 1.0, "air or beyond"), (400.0, 1.0, "100 % of the lesion")],
)
def test_a_mask_that_may_be_that_of_another_scan_is_told(shift: float, spacing: float, said: str) -> None:
    t1, mask = volume(tissue()), volume(ball().astype(float))
    affine = AFFINE @ np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = AFFINE[:3, 3] * spacing + [shift, 0, 0]
    moved = Volume(mask.data, affine)
    notices = misplaced(moved, t1, moved, t1)
    assert [notice.code for notice in notices] == (["W607"] if said else [])
    assert all(said in notice.message for notice in notices)


def test_a_mask_of_this_scan_is_not_doubted_for_what_a_smaller_t1_does_not_show() -> None:
    t1, mask = volume(tissue()), volume(ball().astype(float))
    cut = AFFINE.copy()
    cut[2, 3] += 24
    upper = Volume(t1.data[..., 24:].contiguous(), cut)  # of a thinner scan of the exam, which ends within the lesion
    assert misplaced(mask, t1, mask, upper) == ()


def test_grids_are_compared_in_mm_where_they_differ_most() -> None:
    t1, mask = volume(tissue()), volume(ball().astype(float))
    apart = Volume(mask.data, AFFINE @ np.diag([1.009, 1.0, 1.0, 1.0]))
    assert [notice.code for notice in misplaced(apart, t1, apart, t1)] == ["W607"]


def test_what_is_far_brighter_than_all_tissue_ends_near_fluid_and_not_below() -> None:
    t1 = tissue()
    x = np.where(ball(), 2000.0, 400 - 2 * t1)
    y = kept(volume(t1), volume(x), volume(ball().astype(float))).data[0].numpy()
    assert np.median(y[ball(3)]) == pytest.approx(FLUID, abs=1)
    assert y.min() >= 0


def test_fluid_in_a_flair_stays_what_the_network_made_of_it() -> None:
    t1 = np.where(ball(), 25.0, tissue())
    x = np.where(ball(), 0.0, 400 - 2 * t1)
    y = kept(volume(t1), volume(x), volume(ball().astype(float))).data[0].numpy()
    np.testing.assert_allclose(y, t1, atol=1e-3)


def test_what_skin_shows_says_nothing_of_a_lesion() -> None:
    """In a FLAIR grey matter is brighter than white; skin is bright in both, and there is much of it."""
    away = np.linalg.norm(world_of(SHAPE, AFFINE), axis=-1)
    brain, skin = away < 17, (away > 19) & (away < 23)
    t1 = np.where(brain, tissue(), np.where(skin, 70.0 + 50 * (world_of(SHAPE, AFFINE)[..., 0] > 0), 0.0))
    x = np.where(brain, 400 - 2 * t1, np.where(skin, 6 * t1, 0.0))
    x = np.where(ball(), 400 - 2 * 95.0, x)
    y = kept(volume(t1), volume(x), volume(ball().astype(float))).data[0].numpy()
    assert np.median(y[ball(3)]) == pytest.approx(95, abs=4)


def test_what_cannot_be_told_is_refused() -> None:
    t1 = tissue()
    noise = 100 + np.random.default_rng(1).normal(size=SHAPE)
    with pytest.raises(Refusal, match="E508"):
        kept(volume(t1), volume(noise), volume(ball().astype(float)))
    far = np.eye(4)
    far[0, 3] = 500
    elsewhere = Volume(volume(ball().astype(float)).data, far @ AFFINE)
    for call in (lambda: kept(volume(t1), volume(t1), elsewhere), lambda: healed(volume(t1), elsewhere)):
        with pytest.raises(Refusal, match="E507"):
            call()


def test_a_filled_lesion_is_like_what_surrounds_it_and_nothing_else_changes() -> None:
    x = np.where(ball(), 1000.0, 100.0)
    y = healed(volume(x), volume(ball().astype(float))).data[0].numpy()
    np.testing.assert_allclose(y, 100, atol=0.5)
    t1 = tissue()
    filled = healed(volume(t1), volume(ball().astype(float))).data[0].numpy()
    np.testing.assert_array_equal(filled[~ball()], t1[~ball()])


def test_lesions_from_files(phantom: Volume, phantom_file: Path, tmp_path: Path, identity_file: Path) -> None:
    """The identity makes of the phantom an image that is read as a T1; its bright lesion is filled, or kept."""
    mask = phantom.with_data(
        torch.tensor(np.linalg.norm(world_of(phantom.shape, phantom.affine) - LESION, axis=-1) < 6)[None].float()
    )
    where = save(mask, tmp_path / "mask.nii.gz")
    say = {"model": str(identity_file), "flip": False, "threads": 1, "lesion_mask": str(where)}
    for lesions in ("inpaint", "keep"):
        options = Options(**say, lesions=lesions)
        summary = predict_scans([phantom_file], tmp_path / f"{lesions}.nii.gz", options)
        assert summary.exit_code == 0, summary.outcomes[0].message
        card = json.loads((tmp_path / f"{lesions}.json").read_text())
        assert (card["options"]["lesions"], card["options"]["lesion_mask"]) == (lesions, "mask.nii.gz")
    healed_, kept_ = (nib.load(tmp_path / f"{word}.nii.gz").get_fdata() for word in ("inpaint", "keep"))
    near = np.linalg.norm(world_of(healed_.shape, nib.load(tmp_path / "keep.nii.gz").affine) - LESION, axis=-1)
    assert np.abs(healed_ - kept_)[near < 4].mean() > 5
    np.testing.assert_allclose(healed_[near > 16], kept_[near > 16], atol=0.5)
    untrusted = nib.Nifti1Image(mask.data[0].numpy(), None)  # no orientation: nobody knows which side it marks
    nib.save(untrusted, tmp_path / "bare.nii.gz")
    bare = Options(**say | {"lesion_mask": str(tmp_path / "bare.nii.gz")}, strict=True)
    told = predict_scans([phantom_file], tmp_path / "new.nii.gz", bare).outcomes[0].message
    assert told.startswith("W401 bare.nii.gz")
    before = where.read_bytes()
    for options in (Options(**say, overwrite=True), Options(**say, overwrite=True, uncertainty=str(where))):
        out = tmp_path / "new.nii.gz" if options.uncertainty else where  # the mask is never written to
        assert predict_scans([phantom_file], out, options).outcomes[0].message[:4] == "E701"
    assert where.read_bytes() == before
    gone = Options(**say | {"lesion_mask": str(tmp_path / "gone.nii.gz")})
    assert predict_scans([phantom_file], tmp_path / "new.nii.gz", gone).outcomes[0].message.startswith("E108 gone.nii")
    whole = Volume(torch.ones_like(mask.data), mask.affine @ np.diag([1.5, 1.5, 1.5, 1.0]))  # more than half a brain
    scan_ = Options(**say | {"lesion_mask": str(save(whole, tmp_path / "t1w.nii.gz"))})
    told = predict_scans([phantom_file], tmp_path / "new.nii.gz", scan_).outcomes[0].message
    assert re.match(r"E509 t1w.nii.gz is above 0.5 in \d+ ml, more than any lesion; give a mask", told)
    save(scan((64, 72, 12)).with_data(mask.data * 0), where)
    again = predict_scans([phantom_file], tmp_path / "keep.nii.gz", Options(**say, lesions="keep"))
    assert again.outcomes[0].message[:4] == "E705"  # another mask
    with pytest.raises(UsageError, match="belong to one scan or exam"):
        predict_scans([phantom_file, where], tmp_path / "out", Options(**say))


def moved(scan: Volume, mm: float) -> Volume:
    shift = np.eye(4)
    shift[0, 3] = mm
    return Volume(scan.data, shift @ scan.affine)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of registration: heads that lie where they lay."""
    monkeypatch.setattr("isomorph.predict.possible.able", lambda: None)
    monkeypatch.setattr("isomorph.align.loaded", lambda: None)
    monkeypatch.setattr("isomorph.predict.exam.aligned", lambda t1, _: t1)


@pytest.mark.usefixtures("still")
def test_only_the_scan_on_which_the_mask_was_drawn_is_filled(
    identity_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isomorph.predict.exam.aligned", lambda t1, _: moved(t1, -15))
    first, model = scan((64, 72, 20), np.diag([1.0, 1.0, 3.0])), load_model(identity_file)
    second = moved(scan((64, 72, 15), np.diag([1.0, 1.0, 4.0])), 15)  # the head moved: its lesion lies elsewhere
    near = np.linalg.norm(world_of(first.shape, first.affine) - LESION, axis=-1)
    mask = first.with_data(torch.tensor(near < 8)[None].float())
    alone, both, plain = (
        synthesise(scans, model, flip=False, lesion_mask=given).volume
        for scans, given in ((first, mask), ([first, second], mask), ([first, second], None))
    )
    away = np.linalg.norm(world_of(both.shape, both.affine) - LESION, axis=-1)
    np.testing.assert_allclose(both.data[0][away < 5], alone.data[0][away < 5], atol=0.5)
    np.testing.assert_allclose(both.data[0][away > 20], plain.data[0][away > 20], atol=0.5)


@pytest.mark.usefixtures("still")
def test_a_scan_that_does_not_hold_the_lesion_does_not_stop_the_exam(identity_file: Path) -> None:
    first = scan((64, 72, 20), np.diag([1.0, 1.0, 3.0]))
    slab = scan((64, 72, 5), np.diag([1.0, 1.0, 4.0]))
    near = np.linalg.norm(world_of(first.shape, first.affine) - (-14.0, 6.0, 15.0), axis=-1)
    mask = first.with_data(torch.tensor(near < 4)[None].float())
    result = synthesise([first, slab], load_model(identity_file), flip=False, lesion_mask=mask)
    assert [part.share > 0 for part in result.parts] == [True, True]
    with pytest.raises(Refusal, match="E507"):
        synthesise([slab, first], load_model(identity_file), flip=False, lesion_mask=mask)


def as_t1(scan: Volume) -> Result:
    """The T1 of `tissue` as far as the scan reaches, whatever its contrast."""
    t1 = volume(tissue()[..., : scan.shape[2]])
    return Result(t1, {}, "cpu", "fp32", 1, (0.0, 1.0))


@pytest.mark.usefixtures("still")
def test_where_the_scan_that_shows_a_lesion_has_not_looked_there_is_no_hole() -> None:
    silent = volume(100 + np.random.default_rng(1).normal(size=SHAPE))
    telling = volume(np.where(ball(), 400 - 2 * 50.0, 400 - 2 * tissue())[..., :24])  # ends in the middle of the lesion
    result = fused([silent, telling], as_t1, Lesions(volume(ball().astype(float))), keep=True)
    assert [notice.code for notice in result.notices] == ["W606"]
    x, above, below = result.volume.data[0].numpy(), ball(), ball(3)
    above[..., :24], below[..., 23:] = False, False
    np.testing.assert_allclose(x[above], tissue()[above], atol=1e-3)
    assert np.median(x[below]) < GREY - 10


@pytest.mark.usefixtures("still")
def test_where_the_scan_that_was_filled_is_left_out_there_is_no_hole() -> None:
    noise, good = volume(100 * np.random.default_rng(1).random(SHAPE)), volume(tissue())
    bad = Volume(noise.data[..., ::2], centred((48, 48, 24), np.diag([1.0, 1.0, 2.0])))

    def single(scan: Volume) -> Result:
        return as_t1(scan) if scan is good else Result(noise, {}, "cpu", "fp32", 1, (0.0, 1.0))

    result = fused([bad, good], single, Lesions(volume(ball().astype(float))))
    assert [notice.code for notice in result.notices] == ["W602", "W606"]
    np.testing.assert_allclose(result.volume.data[0], tissue(), atol=1e-3)
