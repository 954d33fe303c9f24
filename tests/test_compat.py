"""Compatible modes against the rules of the incumbents, stated again here with scipy and loops."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import orientations, save, scan, turned
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from isomorph.errors import SetupError, UsageError
from isomorph.io import read
from isomorph.nets import UNet
from isomorph.nets.residual import Residual
from isomorph.predict import Options, synthesise
from isomorph.predict.compat import HYPERFINE, RULES, Fed
from isomorph.predict.compat.grid import align, align_back, pad, ras_axes, resample, smooth
from isomorph.predict.compat.hyperfine import like
from isomorph.predict.scans import predict_scans
from isomorph.volume import Volume
from isomorph.weights import load_model, save_model

TURN = np.array([[0.936, -0.29, 0.199], [0.313, 0.945, -0.095], [-0.16, 0.151, 0.975]])  # some 19 degrees


def stated_resample(x: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spec, section 3.1, one voxel after the other."""
    lines, sigmas, size = [], [], []
    for axis in range(3):
        mm = np.sqrt((affine[:3, axis] ** 2).sum())
        sigmas.append(0.25 / mm if mm <= 1 else 0.0)
        start, step = -(mm - 1) / (2 * mm), 1.0 / mm
        places = np.arange(start, start + step * np.ceil(x.shape[axis] * mm), step)
        lines.append([min(max(p, 0), x.shape[axis] - 1) for p in places])
        size.append(mm)
    filtered = gaussian_filter(x, sigmas)
    look = RegularGridInterpolator([np.arange(n) for n in x.shape], filtered)
    out = look(list(itertools.product(*lines))).reshape([len(line) for line in lines])
    new = affine.copy()
    for axis in range(3):
        new[:3, axis] = affine[:3, axis] / size[axis]
    for axis in range(3):
        new[:3, 3] = new[:3, 3] - 0.5 * (size[axis] - 1) * new[:3, axis]
    return out, new


def stated_align(x: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The permutation of axes that brings most of each axis onto its world axis, found by trying all."""
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(itertools.permutations(range(3)), key=lambda p: sum(abs(unit[w, v]) for w, v in enumerate(p)))
    signs = [np.sign(unit[w, v]) for w, v in enumerate(best)]
    out = np.transpose(x, best)
    new = np.eye(4)
    corner = np.zeros(3)
    for w, v in enumerate(best):
        new[:3, w] = affine[:3, v] * signs[w]
        if signs[w] < 0:
            out = np.take(out, range(out.shape[w] - 1, -1, -1), axis=w)
            corner[v] = x.shape[v] - 1
    new[:3, 3] = affine[:3, :3] @ corner + affine[:3, 3]
    return out, new


def stated_pad(x: np.ndarray) -> tuple[np.ndarray, list[int]]:
    size = [int(np.ceil(n / 32.0) * 32) for n in x.shape]
    start = [int(np.floor((m - n) / 2)) for m, n in zip(size, x.shape, strict=True)]
    out = np.zeros(size)
    for index in np.ndindex(*x.shape[:2]):
        row = tuple(i + s for i, s in zip(index, start, strict=False))
        out[row][start[2] : start[2] + x.shape[2]] = x[index]
    return out, start


def stated(scan: Volume, mode: str, network, *, ct=False, flip=True, sharpen=True) -> tuple[np.ndarray, np.ndarray]:
    """The whole of section 3.2 for one mode: the image that is written, and its affine."""
    x = scan.data[0].numpy().astype(float)
    if mode == "github":
        x = np.minimum(np.maximum(x, 0), 80) if ct else x
    x, native = stated_resample(x, scan.affine)
    shape = x.shape
    x, aligned = stated_align(x, native)
    inner = x.shape
    if mode == "github":
        x = x - x.min()
        padded, start = stated_pad(x / x.max())
    else:
        padded, start = stated_pad(x)
        padded = np.minimum(np.maximum(padded, 0), 80) if ct else padded
        padded = padded - padded.min()
        padded = padded / padded.max()

    def predict(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.tensor(image.copy(), dtype=torch.float32)[None, None])[0, 0].double().numpy()

    one = predict(padded)
    two = predict(padded[::-1])[::-1] if flip else one
    if mode == "github":
        out = 255 * (0.5 * one + 0.5 * two)
        out[out < 0], out[out > 128] = 0, 128
    else:
        out = 0.5 * np.clip(255 * one, 0, 128) + 0.5 * np.clip(255 * two, 0, 128)
    a, b, c = start
    out = out[a : a + inner[0], b : b + inner[1], c : c + inner[2]]
    if mode == "github":
        return out, aligned
    if sharpen:
        out = out + 1.0 * (out - gaussian_filter(out, 1.5))
    index = np.arange(out.size).reshape(shape)  # which voxel of the scan's own axes lies where after aligning
    came_from, _ = stated_align(index, native)
    back = np.empty(out.size)
    back[came_from.ravel()] = out.ravel()
    return np.minimum(np.maximum(2 * back.reshape(shape), 0), 255).astype(np.uint8), native


@pytest.fixture(scope="module")
def network() -> UNet:
    """A small SynthSR whose output of a phantom lies across both clips, and is no mirror image."""
    torch.manual_seed(3)
    net = UNet(features=2, levels=3).eval()
    with torch.no_grad():
        x = torch.rand(1, 1, 32, 32, 32)
        net.head.weight /= net(x).std()
        net.head.weight *= 0.6
        net.head.bias.fill_(0)
        net.head.bias += 0.2 - net(x).mean()
    return net


@pytest.fixture
def original_file(network: UNet, tmp_path: Path) -> Path:
    """The same as a converted model."""
    path = tmp_path / "original.safetensors"
    card = {"name": "original", "network": "unet", "arguments": {"features": 2, "levels": 3}, "compat": "freesurfer"}
    save_model(path, network, card | {"white_matter": 110 / 255, "licence": "CC0-1.0", "data": "none"}, half=False)
    return path


def small(matrix: np.ndarray, shape: tuple[int, int, int]) -> Volume:
    return scan(shape, matrix)


SCANS = {
    "thick axial": small(np.diag([1.3, 1.3, 5.0]), (22, 21, 6)),
    "finer than 1 mm": small(np.diag([0.7, 0.9, 1.0]), (36, 33, 30)),
    "oblique sagittal": small(TURN @ np.array([[0, 0, 3.0], [-1.1, 0, 0], [0, -1.1, 0]]), (27, 26, 10)),
    "1 mm, told with few digits": small(np.diag([-1.0000001, 1.0, 0.9999999]), (31, 30, 28)),
}


@pytest.mark.parametrize("name", SCANS)
def test_resampling_is_theirs(name: str) -> None:
    volume = SCANS[name]
    x, affine = resample(volume.data[0].double(), volume.affine)
    expected, place = stated_resample(volume.data[0].double().numpy(), volume.affine)
    assert tuple(x.shape) == expected.shape
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(affine, place, atol=1e-12)


def test_the_pitfall_of_added_steps_is_kept() -> None:
    """A 1 mm scan whose header says 1.0000001 mm grows by a voxel: studies made with it hold such images."""
    x = torch.rand(64, 5, 5, dtype=torch.float64)
    grown, _ = resample(x, np.diag([1.0000001, 1, 1, 1]))
    plain, _ = resample(x, np.eye(4))
    assert (grown.shape[0], plain.shape[0]) == (65, 64)


def test_smoothing_is_that_of_scipy() -> None:
    x = torch.rand(9, 5, 12, dtype=torch.float64)
    for sigmas in ([1.5, 1.5, 1.5], [0.25, 0, 0.9]):  # a kernel wider than the image is mirrored more than once
        np.testing.assert_allclose(smooth(x, sigmas).numpy(), gaussian_filter(x.numpy(), sigmas), atol=1e-12)


@pytest.mark.parametrize(("order", "signs"), orientations())
def test_aligning_is_theirs_and_comes_back(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = turned(small(TURN @ np.diag([1.0, 2.0, 3.0]), (5, 6, 7)), order, signs)
    x, affine = align(volume.data[0], volume.affine)
    expected, place = stated_align(volume.data[0].numpy(), volume.affine)
    np.testing.assert_array_equal(x.numpy(), expected)
    np.testing.assert_allclose(affine, place, atol=1e-9)
    assert torch.equal(align_back(x, volume.affine), volume.data[0])


def test_two_directions_that_claim_one_axis_are_told_apart() -> None:
    """Sheared so far that two world axes lie nearest to the same axis of the array."""
    affine = np.eye(4)
    affine[:3, :3] = [[1.0, -2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert np.abs(np.linalg.inv(affine)[:3, :3]).argmax(axis=0).tolist() == [0, 0, 2]
    assert ras_axes(affine) == [0, 1, 2]


def test_padding_is_theirs() -> None:
    x = torch.rand(33, 32, 7, dtype=torch.float64)
    out, (start, shape) = pad(x)
    expected, begin = stated_pad(x.numpy())
    np.testing.assert_array_equal(out.numpy(), expected)
    assert (list(start), shape) == (begin, tuple(x.shape))


@pytest.mark.parametrize("ct", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", ["thick axial", "oblique sagittal"])
@pytest.mark.parametrize("mode", sorted(RULES))
def test_the_whole_of_a_mode_is_theirs(
    mode: str, name: str, flip: bool, ct: bool, network: UNet, original_file: Path
) -> None:
    volume = SCANS[name]
    volume = volume.with_data(volume.data / 8 - 20) if ct else volume.with_data(volume.data + 150)  # air is not 0
    result = synthesise(volume, load_model(original_file), ct=ct, flip=flip, compat=mode, device="cpu")
    expected, place = stated(volume, mode, network, ct=ct, flip=flip)
    found = result.volume.data[0].numpy()
    np.testing.assert_allclose(result.volume.affine, place, atol=1e-9)
    if mode == "github":
        np.testing.assert_allclose(found, expected, atol=2e-3)
    else:
        assert np.abs(found - expected).max() <= 1  # a rounding error may cross the border of a step
        assert (found == expected).mean() > 0.999
    assert (expected > 0).mean() > 0.05
    assert len(np.unique(expected.round())) > 50  # the comparison is of images, not of two clipped constants


def test_the_modes_differ_where_the_incumbents_do(original_file: Path) -> None:
    model, volume = load_model(original_file), SCANS["thick axial"]
    shifted = volume.with_data(volume.data + 150)
    one, two = (synthesise(shifted, model, compat=mode, device="cpu").volume for mode in ("freesurfer", "github"))
    assert one.shape == two.shape
    assert (one.data - 2 * two.data).abs().max() > 5
    plain = synthesise(shifted, model, compat="freesurfer", sharpen=False, device="cpu").volume
    assert (plain.data - one.data).abs().max() > 5
    assert plain.data.max() <= 255


def test_sharpening_can_be_left_out(network: UNet, original_file: Path) -> None:
    volume = SCANS["thick axial"]
    found = synthesise(volume, load_model(original_file), compat="freesurfer", sharpen=False, device="cpu")
    expected, _ = stated(volume, "freesurfer", network, sharpen=False)
    assert np.abs(found.volume.data[0].numpy() - expected).max() <= 1


def test_resampling_like_another_scan_is_theirs() -> None:
    t1, t2 = SCANS["thick axial"], SCANS["oblique sagittal"]
    found = like(t2.data[0].double(), t2.affine, t1.shape, t1.affine).numpy()
    grid, values = [*map(np.arange, t2.shape)], t2.data[0].double().numpy()
    look = RegularGridInterpolator(grid, values, bounds_error=False, fill_value=0)
    places = [(np.linalg.inv(t2.affine) @ t1.affine @ [*index, 1])[:3] for index in np.ndindex(*t1.shape)]
    np.testing.assert_allclose(found.ravel(), look(places), atol=1e-9)
    assert 0.1 < (found != 0).mean() < 1


def test_a_pair_of_low_field_scans_is_treated_as_in_their_script() -> None:
    t1, t2 = SCANS["thick axial"], SCANS["oblique sagittal"]
    t1 = t1.with_data(t1.data + 150)
    fed = HYPERFINE.prepare([t1, t2], False)
    x, native = stated_resample(t1.data[0].double().numpy(), t1.affine)
    x, aligned = stated_align(x, native)
    low = x.min()
    spread = (x - low).max() / 3
    first, start = stated_pad((x - low) / spread)
    y = like(t2.data[0].double(), t2.affine, x.shape, aligned).numpy()
    second, _ = stated_pad((y - y.min()) / (y - y.min()).max() * 2)
    np.testing.assert_allclose(fed.image.numpy(), [first, second], atol=1e-6)
    residual = torch.randn(fed.image.shape[1:])
    out = HYPERFINE.restore([residual + fed.image[0]], fed, True)
    crop = tuple(slice(s, s + n) for s, n in zip(start, x.shape, strict=True))
    expected = low + spread * (residual.numpy()[crop] + (x - low) / spread)
    np.testing.assert_allclose(out.data[0].numpy(), np.maximum(expected, 0), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(out.affine, aligned)


def test_a_ct_of_air_alone_becomes_no_number_that_is_not_finite() -> None:
    volume = SCANS["thick axial"].with_data(torch.full((1, 22, 21, 6), -1000.0))
    for rules in RULES.values():
        fed = rules.prepare([volume], True)
        assert isinstance(fed, Fed)
        assert fed.image.isfinite().all()


def test_a_file_is_written_as_the_incumbent_writes_it(original_file: Path, tmp_path: Path) -> None:
    source = save(SCANS["oblique sagittal"], tmp_path / "scan.nii.gz")
    for mode, dtype, white in (("freesurfer", np.uint8, 220), ("github", np.float32, 110)):
        out = tmp_path / mode / "t1.nii.gz"
        options = Options(model=str(original_file), compat=mode, threads=1, device="cpu")
        assert predict_scans([source], out, options).exit_code == 0
        image, said = nib.load(out), json.loads((tmp_path / mode / "t1.json").read_text())
        assert image.get_data_dtype() == dtype
        assert (said["output"]["white_matter"], said["options"]["compat"], said["precision"]) == (white, mode, "fp32")
        result = synthesise(read(source).volume, load_model(original_file), compat=mode, device="cpu")
        np.testing.assert_array_equal(np.asarray(image.dataobj), result.volume.data[0].numpy())
        np.testing.assert_allclose(image.affine, result.volume.affine, atol=1e-4)
        turned_like = nib.load(source).affine if mode == "freesurfer" else np.eye(4)
        assert nib.aff2axcodes(image.affine) == nib.aff2axcodes(turned_like)


def test_auto_is_what_the_model_says_and_none_is_our_own_way(original_file: Path, model_file: Path) -> None:
    volume, model = SCANS["thick axial"], load_model(original_file)
    auto = synthesise(volume, model, device="cpu").volume
    assert torch.equal(auto.data, synthesise(volume, model, compat="freesurfer", device="cpu").volume.data)
    ours = synthesise(volume, model, compat="none", device="cpu")
    assert ours.volume.data.frac().abs().max() > 0  # not 8 bits
    assert ours.window[1] < synthesise(volume, model, device="cpu").window[1]  # a percentile, not the greatest
    plain = load_model(model_file)
    assert (
        synthesise(volume, plain, device="cpu").window == synthesise(volume, plain, compat="none", device="cpu").window
    )


def test_rules_are_for_converted_weights_alone(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"E906 .*convert-weights"):
        synthesise(SCANS["thick axial"], load_model(model_file), compat="freesurfer", device="cpu")
    source = save(SCANS["thick axial"], tmp_path / "scan.nii.gz")
    with pytest.raises(SetupError, match="E906"):
        predict_scans([source], tmp_path / "t1.nii.gz", Options(model=str(model_file), compat="github"))
    with pytest.raises(UsageError, match="--compat is 'spm'; choose from"):
        Options(compat="spm")


def test_what_synthsr_does_not_know_is_refused_before_any_work(original_file: Path, tmp_path: Path) -> None:
    source = save(SCANS["thick axial"], tmp_path / "scan.nii.gz")
    say = {"model": str(original_file), "lesion_mask": str(source)}
    for more in ({"uncertainty": str(tmp_path / "wide.nii.gz")}, {"lesions": "keep"}):
        with pytest.raises(UsageError, match="--compat none"):
            predict_scans([source], tmp_path / "t1.nii.gz", Options(**say, **more))


def test_quality_is_asked_at_the_scale_of_the_rules(original_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setitem(synthesise.__globals__, "quality", lambda t1, scan, ct: seen.append(t1.data) or 1.0)
    volume = synthesise(SCANS["thick axial"], load_model(original_file), device="cpu").volume
    assert torch.equal(seen[0], volume.data / 2)  # white matter lies at 220 there


def test_a_pair_goes_through_the_network_once_and_keeps_the_units_of_the_t1(tmp_path: Path) -> None:
    net = UNet(2, features=2, levels=3).eval()
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)  # says that nothing is to be added to the T1
    card = {"name": "pair", "network": "unet", "arguments": {"inputs": 2, "features": 2, "levels": 3}, "residual": [0]}
    card |= {"compat": "hyperfine", "white_matter": 1.0, "licence": "CC0-1.0", "data": "none"}
    save_model(tmp_path / "pair.safetensors", Residual(net, [0]), card, half=False)
    t1, t2 = SCANS["thick axial"], SCANS["oblique sagittal"]
    t1 = t1.with_data(t1.data - 100)
    result = synthesise([t1, t2], load_model(tmp_path / "pair.safetensors"), device="cpu")
    expected, _ = stated_align(*stated_resample(t1.data[0].double().numpy(), t1.affine))
    np.testing.assert_allclose(result.volume.data[0].numpy(), np.maximum(expected, 0), atol=1e-2)
    assert [part.moved for part in result.parts] == [0.0, 0.0]
    assert result.quality is None  # of an image in the units of the scan it cannot be asked
    files = [save(t1, tmp_path / "t1.nii.gz"), save(t2, tmp_path / "t2.nii.gz")]
    options = Options(model=str(tmp_path / "pair.safetensors"), threads=1, device="cpu")
    assert predict_scans(files, tmp_path / "out.nii.gz", options).exit_code == 0
    written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    # The header holds 1.3 mm with few digits, and that is a voxel more: see the pitfall above.
    pair = [read(file).volume for file in files]
    again = synthesise(pair, load_model(tmp_path / "pair.safetensors"), device="cpu").volume.data[0]
    np.testing.assert_allclose(written, again.numpy(), atol=1e-3)
    assert json.loads((tmp_path / "out.json").read_text())["output"]["white_matter"] is None  # that of the scan
    with pytest.raises(SetupError, match="E906 pair wants 2 scans"):
        synthesise(t1, load_model(tmp_path / "pair.safetensors"), device="cpu")
