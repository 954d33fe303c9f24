from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import LESION, head, orientations, scan, turned, world_of
from scipy.spatial.transform import Rotation
from torch import nn

from isomorph.device import choose_device, choose_precision
from isomorph.errors import IsomorphError, SetupError, UsageError
from isomorph.nets import Compact
from isomorph.predict import OPTIONS, synthesise
from isomorph.predict.prepare import head_box, prepare
from isomorph.predict.restore import restore
from isomorph.predict.run import run
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()
SHEAR = np.array([[1, 0, 0], [0, 1, np.tan(np.radians(20))], [0, 0, 1]])


class Analytic(nn.Module):
    """A function in place of a network."""

    multiple = 8

    def __init__(self, function=lambda x: x) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def analytic(function=lambda x: x, white_matter: float = 1.0) -> Model:
    return Model(Analytic(function).eval(), {"name": "analytic", "white_matter": white_matter}, "0" * 64)


@pytest.mark.parametrize(
    "matrix",
    [np.diag([1.0, 1.0, 5.0]), OBLIQUE @ np.diag([0.9, 0.9, 5.0]), SHEAR @ np.diag([1, 1, 5.0])],
    ids=["axial", "oblique", "sheared"],
)
def test_outputs_land_at_the_same_place_in_all_48_orientations(matrix: np.ndarray) -> None:
    volume = scan((66, 72, 13), matrix)
    expected = synthesise(volume, analytic()).volume
    value = expected.data[0].numpy()
    lesion = world_of(expected.shape, expected.affine)[value > 120]
    np.testing.assert_allclose(lesion.mean(0), LESION, atol=1.5)
    for order, signs in orientations():
        out = synthesise(turned(volume, order, signs), analytic(), flip=False).volume
        np.testing.assert_allclose(out.affine, expected.affine, atol=1e-9)
        assert (out.data - expected.data).abs().max() < 0.3


def test_the_identity_network_returns_the_normalised_head_in_place(identity_file: Path) -> None:
    volume = scan((64, 72, 60), np.eye(3))
    result = synthesise(volume, str(identity_file), precision="fp32")
    truth = head(world_of(result.volume.shape, result.volume.affine))
    got = result.volume.data[0].numpy()
    inside = (truth > 0) & (truth < 900)
    assert np.corrcoef(got[inside], truth[inside])[0, 1] > 0.999
    assert set(result.seconds) == {"prepare", "network", "restore", "quality"}
    assert (result.device, result.precision) == ("cpu", "fp32")


def test_every_volume_size_survives() -> None:
    for n in [1, 2, 3, 7, 8, 9, 31, 33]:
        volume = Volume(torch.rand(1, n, 16, n + 1), np.diag([1.0, 1, 1, 1]))
        assert synthesise(volume, analytic()).volume.shape == (n, 16, n + 1)


def test_white_matter_becomes_110_and_the_rest_is_clipped_to_0_to_255() -> None:
    volume = scan((30, 30, 30), np.eye(3))
    assert synthesise(volume, analytic(lambda x: 0 * x + 0.5, 0.5)).volume.data.unique().tolist() == [110.0]
    assert synthesise(volume, analytic(lambda x: 0 * x + 9)).volume.data.unique().tolist() == [255.0]
    assert synthesise(volume, analytic(lambda x: 0 * x - 9)).volume.data.unique().tolist() == [0.0]


def test_outside_the_field_of_view_of_a_sheared_scan_is_0() -> None:
    volume = scan((40, 40, 9), SHEAR @ np.diag([1, 1, 5.0]))
    prepared = prepare(volume, 8)
    out = synthesise(volume, analytic(lambda x: 0 * x + 1)).volume
    assert (out.data[0][~prepared.view] == 0).all()
    assert (out.data[0][prepared.view] == 110).all()


def test_flip_averaging_undoes_a_preference_for_one_side() -> None:
    volume = scan((32, 32, 32), np.eye(3))
    ramp = analytic(lambda x: x * 0 + torch.linspace(0, 1, x.shape[2])[:, None, None])
    out = synthesise(volume, ramp).volume.data
    torch.testing.assert_close(out, torch.full_like(out, 55.0))
    assert synthesise(volume, ramp, flip=False).volume.data.std() > 10


def test_a_network_that_has_predicted_can_still_be_trained() -> None:
    net = Compact(features=(4,))
    image = Volume(torch.rand(1, 16, 16, 16), np.eye(4))
    run(net, image, device=torch.device("cpu"), precision="fp32", flip=False)
    assert not any(weight.is_inference() for weight in net.parameters())
    net(image.data[None]).sum().backward()


def test_a_network_that_can_look_both_ways_is_asked_once_along_the_axis_from_left_to_right() -> None:
    class Both(Analytic):
        def both_ways(self, x: torch.Tensor, axis: int) -> torch.Tensor:
            asked.append(axis)
            return (x + x.flip(axis)) / 2

    asked: list[int] = []
    image = scan((8, 8, 8), np.eye(3)[[1, 2, 0]])  # R runs along the second axis
    how = {"device": torch.device("cpu"), "precision": "fp32"}
    out = run(Both(), image, **how).volume
    assert asked == [3]
    torch.testing.assert_close(out.data, (image.data + image.data.flip(2)) / 2)
    run(Both(), image, **how, flip=False)
    assert asked == [3]


@pytest.mark.parametrize("offset", [-5000, 32768])
def test_scale_and_offset_of_mr_do_not_matter(offset: float) -> None:
    volume = scan((40, 44, 9), np.diag([1, 1, 5.0]))
    expected = synthesise(volume, analytic()).volume.data
    other = synthesise(volume.with_data(volume.data * 37 + offset), analytic()).volume.data
    torch.testing.assert_close(other, expected, atol=0.05, rtol=0)


def test_one_hot_voxel_does_not_darken_the_head() -> None:
    volume = scan((40, 44, 40), np.eye(3))
    hot = volume.data.clone()
    hot[0, 0, 0, 0] = 1e6
    clean, other = (synthesise(volume.with_data(x), analytic()).volume.data for x in (volume.data, hot))
    assert (clean - other).abs().mean() < 0.005 * clean.mean()


def test_ct_is_clipped_to_the_brain_window_before_resampling() -> None:
    data = torch.full((1, 32, 32, 8), -1000.0)
    data[:, 8:24, 8:24] = 40
    data[:, 8:24, 8:24, 4] = 2000  # a slice of bone
    volume = Volume(data, np.diag([1.0, 1, 4, 1]))
    got = prepare(volume, 8, ct=True)
    out = restore(got.image, got, 1.0).data[0, 16, 16] / 110
    np.testing.assert_allclose(out[14:18], [45 / 75, 55 / 75, 65 / 75, 1], atol=1e-5)
    np.testing.assert_allclose(out[:14], 40 / 75, atol=1e-5)
    assert got.window == (0, 75)  # bone, at its brightest between two slices


def test_the_bright_end_of_a_ct_is_measured_as_in_training_not_set_to_80() -> None:
    data = torch.full((1, 32, 32, 32), -1000.0)
    data[:, 8:24, 8:24, 8:24] = 40  # no bone in view
    got = prepare(Volume(data, np.eye(4)), 8, ct=True)
    assert got.window == (0, 40)
    assert got.image.data.max() == 1


def test_empty_space_around_a_small_head_is_not_computed() -> None:
    volume = scan((200, 180, 24), np.diag([1.0, 1.0, 5.0]))
    prepared = prepare(volume, 16)
    assert prepared.shape == (200, 180, 120)
    assert prepared.image.data.numel() < 0.4 * 200 * 180 * 120
    out = restore(prepared.image, prepared, 1.0)
    whole = prepare(volume, 1).image  # nothing is lost where the head is
    assert out.shape == prepared.shape
    assert out.data.max() > 100
    assert whole.data.max() == prepared.image.data.max()


def test_head_box_keeps_a_full_image_and_an_empty_one() -> None:
    assert head_box(torch.ones(20, 30, 40)) == ((0, 0, 0), (20, 30, 40))
    assert head_box(torch.zeros(20, 30, 40)) == ((0, 0, 0), (20, 30, 40))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_scan_gives_the_same_bits(model_file: Path, precision: str) -> None:
    volume = scan((40, 44, 9), np.diag([1, 1, 5.0]))
    model = load_model(model_file)
    first, second = (synthesise(volume, model, precision=precision).volume.data for _ in range(2))
    assert torch.equal(first, second)


def test_bf16_is_close_to_fp32(identity_file: Path) -> None:
    volume = scan((40, 44, 9), np.diag([1, 1, 5.0]))
    a, b = (synthesise(volume, str(identity_file), precision=p).volume.data for p in ("fp32", "bf16"))
    assert (a - b).abs().max() < 2


def test_the_input_is_left_alone(model_file: Path) -> None:
    volume = scan((30, 30, 8), np.diag([1, 1, 5.0]))
    before = volume.data.clone()
    synthesise(volume, str(model_file), ct=True)
    assert torch.equal(volume.data, before)


def test_progress_is_told_in_order(model_file: Path) -> None:
    told: list[tuple[str, float]] = []
    synthesise(scan((20, 20, 8)), str(model_file), progress=lambda stage, share: told.append((stage, share)))
    assert [stage for stage, share in told if share == 0] == ["prepare", "network", "restore", "quality"]
    assert ("network", 0.5) in told
    assert told[-1] == ("quality", 1.0)


def test_what_cannot_be_done_is_said_in_one_line(model_file: Path) -> None:
    volume = scan((20, 20, 8))
    with pytest.raises(UsageError, match="choose from auto, cpu"):
        synthesise(volume, str(model_file), device="gpu")
    with pytest.raises(ValueError, match="one channel, got 2"):
        synthesise(volume.with_data(volume.data.repeat(2, 1, 1, 1)), str(model_file))
    with pytest.raises(ValueError, match="not finite"):
        synthesise(volume.with_data(volume.data / 0 * 0), str(model_file))
    with pytest.raises(SetupError, match="E904"):
        synthesise(volume, "no-such-model")
    with pytest.raises(IsomorphError, match="E805"):
        synthesise(volume, analytic(lambda x: x / 0 * 0))
    if not torch.cuda.is_available():
        with pytest.raises(SetupError, match="E804"):
            choose_device("cuda")


def test_out_of_memory_is_said_in_one_line() -> None:
    def exhaust(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.\n"
        )

    with pytest.raises(SetupError, match="E802 out of memory"):
        run(Analytic(exhaust), scan((8, 8, 8)), device=torch.device("cpu"), precision="fp32")


@pytest.mark.parametrize(
    ("device", "able", "expected"),
    [("cpu", {"amx_bf16": True}, "bf16"), ("cpu", {"avx2": True, "amx_bf16": False}, "fp32"), ("mps", {}, "fp32")],
)
def test_auto_precision_is_bf16_only_where_the_hardware_computes_in_it(
    device: str, able: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("isomorph.device"), "_capabilities", lambda: able)
    assert OPTIONS.precision == "auto"
    assert choose_precision("auto", torch.device(device)) == expected
    for asked in ("fp32", "bf16"):
        assert choose_precision(asked, torch.device(device)) == asked


def test_a_gpu_may_not_round_to_tf32_and_gets_its_settings_back() -> None:
    settings = torch.backends.cudnn, torch.backends.cuda.matmul
    seen: list[bool] = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.extend(setting.allow_tf32 for setting in settings)
        return x

    before = [setting.allow_tf32 for setting in settings]
    assert any(before)  # what torch does unasked
    run(Analytic(spy), scan((8, 8, 8)), device=torch.device("cpu"), precision="fp32", flip=False)
    assert seen == [False, False]
    assert [setting.allow_tf32 for setting in settings] == before


def test_a_path_is_no_scan_and_what_makes_one_of_it_is_told(model_file: Path) -> None:
    with pytest.raises(TypeError, match=r"A scan is a Volume, got str .*; isomorph.load\(path\) gives one"):
        synthesise(["scan.nii.gz"], load_model(model_file))  # type: ignore[list-item]
