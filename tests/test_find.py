"""Lesions that a rigged network sees: found where they are, kept as if they had been given, written as used."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from brains import finder_file, network_file
from phantoms import centred, save, turned, world_of
from scipy import ndimage

from isomorph import io
from isomorph.errors import Refusal, SetupError, UsageError
from isomorph.predict import Lesions, Options, find_lesions, synthesise
from isomorph.predict.exam import fused
from isomorph.predict.find import agreed, finder_for
from isomorph.predict.memory import peak
from isomorph.predict.result import Result
from isomorph.predict.scans import predict_scans
from isomorph.space import resample
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

SHAPE = (48, 48, 48)
AFFINE = centred(SHAPE, np.eye(3))
HERE, THERE = (0.0, 0.0, 0.0), (-9.0, 6.0, 4.0)


def ball(radius: float = 6.0, at: tuple[float, ...] = HERE, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    affine = AFFINE if shape == SHAPE else centred(shape, np.diag(np.array(SHAPE) / np.array(shape)))
    return np.linalg.norm(world_of(shape, affine) - np.array(at), axis=-1) < radius


def flair(*lesions: np.ndarray) -> Volume:
    """White matter at 100, grey at 120 in patches of some mm, lesions at 165, in air."""
    cloud = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 3)
    x = np.where(cloud > 0, 120.0, 100.0)
    for lesion in lesions:
        x = np.where(lesion, 165.0, x)
    x = np.where(ball(22), x + np.random.default_rng(1).normal(0, 0.3, SHAPE), 0.0)
    return Volume(torch.tensor(x, dtype=torch.float32)[None], AFFINE)


def mask_of(lesion: np.ndarray) -> Volume:
    return Volume(torch.tensor(lesion)[None].float(), AFFINE)


def here(lesions: Lesions) -> np.ndarray:
    return lesions.mask.data[0].numpy() > 0


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finder_file(tmp_path_factory.mktemp("models") / "finder.safetensors")


@pytest.fixture(scope="module")
def seeing(finder: Path) -> Model:
    return load_model(finder)


@pytest.fixture(scope="module")
def plain(identity_file: Path) -> Model:
    return load_model(identity_file)


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_lesion_is_found_where_it_is(inputs: int, tmp_path: Path) -> None:
    model = load_model(finder_file(tmp_path / "finder.safetensors", inputs=inputs))
    found = find_lesions(flair(ball()), model)
    np.testing.assert_array_equal(here(found), ball())
    assert (found.mask.data.dtype, found.volume) == (torch.uint8, ball().sum())
    assert (found.model, found.sha256, found.notices) == ("finder", model.sha256, ())
    stored = turned(flair(ball(at=THERE)), (2, 0, 1), (1, -1, 1))
    np.testing.assert_array_equal(here(find_lesions(stored, model)), ball(at=THERE))  # axes in RAS order


def test_a_mask_lies_on_the_grid_that_was_asked_for(seeing: Model) -> None:
    fine = flair(ball(7)).data[0].numpy()
    thick = Volume(torch.tensor(fine.reshape(48, 48, 16, 3).mean(-1))[None], centred((48, 48, 16), np.diag([1, 1, 3])))
    found = find_lesions(thick, seeing, grid="input")
    assert found.mask.shape == thick.shape
    np.testing.assert_array_equal(found.mask.affine, thick.affine)
    assert overlap(here(found), ball(7, shape=thick.shape)) > 0.8
    assert find_lesions(thick, seeing).mask.shape == SHAPE
    assert found.volume == find_lesions(thick, seeing).volume  # measured where they were found


def test_what_is_found_is_kept_as_if_it_had_been_given(seeing: Model, plain: Model) -> None:
    scan = flair(ball())
    found = synthesise(scan, plain, lesions="keep", finder=seeing)
    given = synthesise(scan, plain, lesions="keep", lesion_mask=mask_of(ball()))
    torch.testing.assert_close(found.volume.data, given.volume.data)
    assert found.lesions is not None
    assert given.lesions is not None
    np.testing.assert_array_equal(here(found.lesions), ball())
    np.testing.assert_array_equal(here(given.lesions), ball())
    assert (found.lesions.model, given.lesions.model) == ("finder", "")
    assert found.seconds["lesions"] > 0
    assert "lesions" not in given.seconds
    healed = synthesise(scan, plain, lesion_mask=mask_of(ball()))
    assert healed.lesions is not None
    np.testing.assert_array_equal(here(healed.lesions), ball())
    assert synthesise(scan, plain).lesions is None


def test_where_nothing_is_found_the_t1_stays_and_that_is_told(seeing: Model, plain: Model) -> None:
    scan, blind = flair(ball()), Model(Blind(), seeing.card, seeing.sha256)
    result = synthesise(scan, plain, lesions="keep", finder=blind)
    torch.testing.assert_close(result.volume.data, synthesise(scan, plain).volume.data)
    assert [n.code for n in result.notices if n.code == "W605"] == ["W605"]
    assert result.lesions is not None
    assert result.lesions.volume == 0
    assert [n.code for n in find_lesions(scan, blind).notices] == ["W605"]
    nothing, one = find_lesions(scan, blind), find_lesions(scan, seeing)
    assert agreed([nothing, one], scan).notices == ()
    assert [n.code for n in agreed([nothing, nothing], scan).notices] == ["W605"]


class Blind(torch.nn.Module):
    """Sees no lesion anywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x * 0 + 9, x * 0 - 9], 1)


def test_a_lesion_is_where_any_scan_of_an_exam_shows_one() -> None:
    one, other = Lesions(mask_of(ball(4, HERE)), "finder"), Lesions(mask_of(ball(4, THERE)), "finder")
    np.testing.assert_array_equal(here(agreed([one, other], flair())), ball(4, HERE) | ball(4, THERE))


def test_lesions_move_with_the_scan_that_shows_them(seeing: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isomorph.predict.exam.aligned", lambda t1, fixed: Volume(t1.data, fixed.affine))
    shift = np.eye(4)
    shift[:3, 3] = (3.0, -2.0, 0.0)
    first, second = flair(ball(5, HERE)), flair(ball(5, THERE))
    second = Volume(second.data, shift @ second.affine)  # he moved

    def single(scan: Volume) -> Result:
        return Result(Volume(flair().data, scan.affine), {}, "cpu", "fp32", 1, (0.0, 1.0))

    def find(scan: Volume) -> Lesions:
        return find_lesions(scan, seeing)

    result = fused([first, second], single, None, find)
    assert result.lesions is not None
    assert overlap(here(result.lesions), ball(5, HERE) | ball(5, THERE)) > 0.9
    other = fused([first, second], single, Lesions(mask_of(ball(5, HERE))))
    assert other.lesions is not None
    np.testing.assert_array_equal(here(other.lesions), ball(5, HERE))


def test_from_file_to_file(finder: Path, identity_file: Path, tmp_path: Path) -> None:
    scan = save(flair(ball()), tmp_path / "scan.nii.gz")
    out, mask = tmp_path / "t1.nii.gz", tmp_path / "mask.nii.gz"
    say = {"model": str(identity_file), "flip": False, "threads": 1, "lesions": "keep", "finder": str(finder)}
    options = Options(**say, write_lesion_mask=str(mask))
    done = predict_scans([scan], out, options)
    assert done.exit_code == 0, done.outcomes[0].message
    image = nib.load(mask)
    assert (image.get_data_dtype(), image.shape) == (np.uint8, nib.load(out).shape)
    np.testing.assert_array_equal(image.get_fdata() > 0, ball())
    t1, said = (json.loads(io.sidecar_path(path).read_text()) for path in (out, mask))
    wanted = {"name": "finder", "sha256": load_model(finder).sha256}
    assert t1["lesions"] == {"from": "model", "model": wanted, "volume_mm3": float(ball().sum())}
    assert (said["lesions"], said["of"], said["fingerprint"]) == (t1["lesions"], "t1.nii.gz", t1["fingerprint"])
    assert t1["options"]["finder"] == "finder.safetensors"
    assert predict_scans([scan], out, options).outcomes[0].status == "skipped"
    mask.unlink()
    assert predict_scans([scan], out, options).outcomes[0].message.startswith("E705")
    given = save(mask_of(ball()), tmp_path / "given.nii.gz")
    again = Options(**say | {"finder": "lesions"}, lesion_mask=str(given), write_lesion_mask=str(mask), overwrite=True)
    assert predict_scans([scan], out, again).exit_code == 0
    np.testing.assert_array_equal(nib.load(mask).get_fdata() > 0, ball())
    assert json.loads(io.sidecar_path(mask).read_text())["lesions"]["from"] == "mask"


def test_masks_of_many_scans_go_into_a_folder(finder: Path, identity_file: Path, tmp_path: Path) -> None:
    for name, at in (("a", HERE), ("b", THERE)):
        (tmp_path / "scans" / name).mkdir(parents=True)
        save(flair(ball(at=at)), tmp_path / "scans" / name / "flair.nii.gz")
    say = {"model": str(identity_file), "flip": False, "threads": 1, "lesions": "keep", "finder": str(finder)}
    options = Options(**say, write_lesion_mask=str(tmp_path / "masks"))
    assert predict_scans([tmp_path / "scans"], tmp_path / "t1s", options).exit_code == 0
    for name, at in (("a", HERE), ("b", THERE)):
        image = nib.load(tmp_path / "masks" / name / "flair_desc-lesions_mask.nii.gz")
        np.testing.assert_array_equal(image.get_fdata() > 0, ball(at=at))
    file = Options(**say, write_lesion_mask=str(tmp_path / "one.nii.gz"))
    with pytest.raises(UsageError, match=r"--write-lesion-mask is the file 'one\.nii\.gz'; T1s in a folder"):
        predict_scans([tmp_path / "scans"], tmp_path / "more", file)


def test_a_network_for_something_else_is_refused(plain: Model, seeing: Model, tmp_path: Path) -> None:
    names = load_model(network_file(tmp_path / "names.safetensors"))
    images = Model(seeing.network, seeing.card | {"name": "images", "kind": "synthesis"}, seeing.sha256)
    for model in (plain, names, images):
        with pytest.raises(SetupError, match=f"E906 {model.card['name']} does not find lesions"):
            find_lesions(flair(ball()), model)
    assert finder_for("keep", given=True, asked=plain) is None
    assert finder_for("inpaint", given=False, asked=plain) is None


@pytest.mark.parametrize("asked", [None, "lesions"])
def test_without_a_mask_and_without_a_network_nothing_is_kept(
    asked: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isomorph.weights.file.SHIPPED", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"^E904 --lesions keep without a mask .*; give a mask by --lesion-mask"):
        finder_for("keep", given=False, asked=asked)
    finder_file(tmp_path / "lesions.safetensors")
    found = finder_for("keep", given=False, asked=asked)
    assert found is not None
    assert found.card["name"] == "lesions"


def test_a_finder_takes_memory(plain: Model, tmp_path: Path) -> None:
    seeing = load_model(finder_file(tmp_path / "wide.safetensors"))
    seeing.network.held = lambda width: 1e4  # bytes for each voxel
    outline = [(SHAPE, AFFINE)]
    alone, both = (peak(outline, plain, Options(flip=False), "fp32", 2**21, finder=f) for f in (None, seeing))
    assert both - alone > 1e3 * np.prod(SHAPE)


def test_a_mask_on_the_grid_of_the_scan_comes_back_as_it_was(plain: Model) -> None:
    shape = (80, 80, 80)
    thin = resample(flair(), shape, centred(shape, np.diag([0.6, 0.6, 0.6])))
    drawn = np.zeros(shape, dtype=bool)
    drawn[24:56:4, 24:56:4, 24:56:4] = True  # lesions of one voxel
    mask = thin.with_data(torch.tensor(drawn)[None].float())
    own = synthesise(thin, plain, lesion_mask=mask, grid="input").lesions
    assert own is not None
    np.testing.assert_array_equal(here(own), drawn)
    fine = synthesise(thin, plain, lesion_mask=mask).lesions
    assert fine is not None
    assert fine.mask.shape == SHAPE
    assert fine.volume == own.volume == pytest.approx(drawn.sum() * 0.6**3, abs=0.1)


def test_what_was_found_and_cannot_be_shown_is_told(
    seeing: Model, plain: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dull(*_: object) -> Volume:
        raise Refusal("E508", "grey and white matter cannot be told apart in the scan", "give another contrast")

    scan = flair(ball())
    healthy = synthesise(scan, plain)
    for name in ("synthesise", "exam"):
        monkeypatch.setattr(importlib.import_module(f"isomorph.predict.{name}"), "kept", dull)
    monkeypatch.setattr("isomorph.predict.exam.aligned", lambda t1, fixed: t1)
    monkeypatch.setattr("isomorph.predict.possible.able", lambda: None)
    monkeypatch.setattr("isomorph.align.loaded", lambda: None)
    for scans in (scan, [scan, scan]):
        result = synthesise(scans, plain, lesions="keep", finder=seeing)
        torch.testing.assert_close(result.volume.data, healthy.volume.data)
        assert [n.code for n in result.notices if n.code == "W606"] == ["W606"]
        assert result.lesions is not None
        np.testing.assert_array_equal(here(result.lesions), ball())
        with pytest.raises(Refusal, match="E508"):
            synthesise(scans, plain, lesions="keep", lesion_mask=mask_of(ball()))
