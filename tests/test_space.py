from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.processing import resample_from_to
from phantoms import LESION, centred, orientations, scan, turned, world_of
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from isomorph.space import (
    axis_codes,
    canonical_grid,
    field_of_view,
    mirror,
    onto,
    resample,
    window,
)
from isomorph.volume import Volume

OBLIQUE = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()
SLICES = np.diag([0.8, 0.9, 5.0])
SHEAR = np.array([[1, 0, 0], [0, 1, np.tan(np.radians(20))], [0, 0, 1]])


def ramp(shape: tuple[int, int, int], affine: np.ndarray) -> Volume:
    """Each channel holds one world coordinate, in mm."""
    return Volume(torch.tensor(world_of(shape, affine)).permute(3, 0, 1, 2).float(), affine)


def blank(shape: tuple[int, int, int], matrix: np.ndarray) -> Volume:
    return Volume(torch.zeros(1).expand(1, *shape), centred(shape, matrix))


# ------------------------------------------------------------------------------------------ canonical grid


@pytest.mark.parametrize("seed", range(40))
def test_an_oblique_1_mm_scan_of_256_voxels_gives_256_voxels(seed: int) -> None:
    matrix = Rotation.random(random_state=seed).as_matrix() * 1.0000001
    volume = Volume(torch.zeros(1).expand(1, 256, 256, 256), centred((256, 256, 256), matrix.astype(np.float32)))
    assert canonical_grid(volume)[0] == (256, 256, 256)


@pytest.mark.parametrize("seed", range(40))
def test_the_grid_covers_the_field_of_view_edge_to_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (30, 41, 9)
    sizes = rng.uniform(0.4, 6, 3)
    volume = blank(shape, Rotation.random(random_state=seed).as_matrix() * sizes)
    grid, affine = canonical_grid(volume)
    extent = np.sort(np.array(shape) * sizes)
    np.testing.assert_array_less(-0.051, np.sort(grid) - extent)
    np.testing.assert_array_less(np.sort(grid) - extent, 1)
    np.testing.assert_allclose(affine[:3, :3].T @ affine[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(affine[:3, :3]) > 0
    assert axis_codes(affine) == "RAS"
    middle = affine @ [*((np.array(grid) - 1) / 2), 1]
    np.testing.assert_allclose(middle[:3], 0, atol=1e-9)
    assert field_of_view(volume, grid, affine).all()


@pytest.mark.parametrize("matrix", [np.eye(3), OBLIQUE, OBLIQUE @ SLICES, SHEAR @ SLICES], ids=str)
def test_all_48_orientations_have_one_grid(matrix: np.ndarray) -> None:
    volume = scan((20, 24, 8), matrix)
    shape, affine = canonical_grid(volume)
    for order, signs in orientations():
        other_shape, other_affine = canonical_grid(turned(volume, order, signs))
        assert other_shape == shape
        np.testing.assert_allclose(other_affine, affine, atol=1e-9)


def test_a_tilted_gantry_leaves_the_slices_perpendicular_to_an_axis() -> None:
    volume = blank((64, 64, 12), SHEAR @ np.diag([0.5, 0.5, 5]))
    shape, affine = canonical_grid(volume)
    np.testing.assert_allclose(affine[:3, :3], np.eye(3), atol=1e-12)  # in-plane axes are those of the scan
    assert shape == (32, 54, 60)  # 32 mm, 32 + 60 tan 20 deg, 12 x 5 mm
    seen = field_of_view(volume, shape, affine)
    assert seen.float().mean() == pytest.approx(32 * 32 * 60 / (32 * 54 * 60), abs=0.02)


def test_shear_of_an_isotropic_scan_is_removed_by_the_nearest_rotation() -> None:
    matrix = OBLIQUE @ np.array([[1, 0.1, 0], [0, 1, 0.05], [0, 0, 1]])
    _, affine = canonical_grid(blank((20, 20, 20), matrix))
    directions = matrix / np.linalg.norm(matrix, axis=0)
    best = Rotation.align_vectors(directions.T, np.eye(3))[0].as_matrix()
    np.testing.assert_allclose(affine[:3, :3], best, atol=1e-6)


# --------------------------------------------------------------------------------------------- resampling


@pytest.mark.parametrize("matrix", [SLICES, OBLIQUE @ SLICES, SHEAR @ SLICES, OBLIQUE @ SHEAR], ids=str)
def test_values_of_a_ramp_are_its_world_coordinates(matrix: np.ndarray) -> None:
    volume = ramp((40, 36, 9), centred((40, 36, 9), matrix))
    shape, affine = canonical_grid(volume)
    out = resample(volume, shape, affine, fill=float("nan"))
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    at = (index @ (m := np.linalg.inv(volume.affine) @ affine)[:3, :3].T) + m[:3, 3]
    inner = ((at >= 3) & (at <= np.array(volume.shape) - 4)).all(-1)  # the filter sees no edge there
    assert inner.sum() > 1000
    got = out.data.permute(1, 2, 3, 0).numpy()
    np.testing.assert_allclose(got[inner], world_of(shape, affine)[inner], atol=1e-3)
    outside = ((at < -0.51) | (at > np.array(volume.shape) - 0.49)).any(-1)
    assert np.isnan(got[outside]).all()
    inside = ((at > -0.49) & (at < np.array(volume.shape) - 0.51)).all(-1)
    assert np.isfinite(got[inside]).all()


def test_edge_slices_are_extended_by_half_a_slice_and_no_further() -> None:
    volume = ramp((8, 8, 6), centred((8, 8, 6), np.diag([1.0, 1.0, 4.0])))
    shape, affine = (8, 8, 32), centred((8, 8, 32), np.eye(3))
    z = resample(volume, shape, affine).data[2, 4, 4].numpy()
    np.testing.assert_array_equal(z[:4], 0)
    np.testing.assert_array_equal(z[4:6], -10)
    np.testing.assert_allclose(z[6:26], np.arange(-9.5, 10), atol=1e-5)
    np.testing.assert_array_equal(z[26:28], 10)
    np.testing.assert_array_equal(z[28:], 0)


def test_without_a_fill_the_edge_is_extended_for_ever() -> None:
    volume = ramp((8, 8, 6), centred((8, 8, 6), np.diag([1.0, 1.0, 4.0])))
    for turn in (np.eye(3), OBLIQUE):
        out = resample(volume, (16, 16, 64), centred((16, 16, 64), turn), fill=None).data
        assert (out[2].min().item(), out[2].max().item()) == pytest.approx((-10, 10), abs=1e-4)


@pytest.mark.parametrize("turn", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_linear_interpolation_agrees_with_nibabel(turn: np.ndarray) -> None:
    volume = scan((24, 28, 10), np.diag([2.0, 2.0, 5.0]))
    affine = centred((30, 31, 32), turn)
    ours = resample(volume, (30, 31, 32), affine).data[0].numpy()
    image = nib.Nifti1Image(volume.data[0].numpy(), volume.affine)
    theirs = resample_from_to(image, ((30, 31, 32), affine), order=1, mode="nearest").get_fdata()
    seen = field_of_view(volume, (30, 31, 32), affine).numpy()
    np.testing.assert_allclose(ours[seen], theirs[seen], atol=0.02)
    assert seen.mean() > 0.8


def test_a_finer_axis_is_smoothed_to_the_new_voxel_size_as_scipy_does() -> None:
    volume = scan((80, 8, 8), np.diag([0.5, 1.0, 1.0]))
    shape, affine = canonical_grid(volume)
    sigma = np.sqrt(1 - 0.5**2) / 2.354820045 / 0.5  # voxels
    smooth = gaussian_filter1d(
        volume.data[0].double().numpy(), sigma, axis=0, mode="nearest", radius=int(np.ceil(3 * sigma))
    )
    expected = (smooth[0::2] + smooth[1::2]) / 2  # new centres lie midway
    np.testing.assert_allclose(resample(volume, shape, affine).data[0], expected, atol=1e-3)


def test_stripes_too_fine_for_the_new_grid_do_not_alias() -> None:
    volume = Volume(
        torch.arange(160).remainder(2).float().expand(1, 4, 4, 160) * 100, centred((4, 4, 160), np.diag([1, 1, 0.45]))
    )
    out = resample(volume, *canonical_grid(volume)).data[..., 3:-3]
    assert (out - 50).abs().max() < 3


def test_an_unchanged_grid_returns_the_same_bits() -> None:
    volume = scan((9, 10, 11), OBLIQUE)
    out = resample(volume, *canonical_grid(volume))
    assert torch.equal(out.data, volume.data)


@pytest.mark.parametrize(
    "matrix", [np.diag([2.0, 2.0, 5.0]), SHEAR @ np.diag([2.0, 2.0, 5.0])], ids=["straight", "shear"]
)
def test_labels_keep_their_type_and_their_values(matrix: np.ndarray) -> None:
    data = torch.from_numpy(np.random.default_rng(0).choice([0, 2, 41, 1035], (1, 12, 13, 6)))
    volume = Volume(data, centred((12, 13, 6), matrix))
    out = resample(volume, *canonical_grid(volume), mode="nearest")
    assert out.data.dtype == torch.int64
    assert set(out.data.unique().tolist()) == {0, 2, 41, 1035}


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="'cubic'; choose"):
        resample(scan((4, 4, 4), np.eye(3)), (4, 4, 4), np.eye(4), mode="cubic")


# --------------------------------------------------------------------------------------- left stays left


@pytest.mark.parametrize("matrix", [SLICES, OBLIQUE @ SLICES, SHEAR @ SLICES], ids=["slices", "oblique", "shear"])
def test_all_48_orientations_give_the_same_image_with_left_on_the_left(matrix: np.ndarray) -> None:
    volume = scan((66, 72, 11), matrix)
    shape, affine = canonical_grid(volume)
    expected = resample(volume, shape, affine)
    bright = world_of(shape, affine)[expected.data[0].numpy() > 900]
    np.testing.assert_allclose(bright.mean(0), LESION, atol=1.5)
    for order, signs in orientations():
        other = turned(volume, order, signs)
        out = resample(other, *canonical_grid(other))
        # float32 sums in another order: rounding only
        assert (out.data - expected.data).abs().max() < 0.05


@pytest.mark.parametrize(("order", "signs"), orientations())
def test_axis_codes_agree_with_nibabel(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = turned(scan((6, 7, 5), OBLIQUE @ np.diag([1, 2, 3.0])), order, signs)
    assert axis_codes(volume.affine) == "".join(nib.aff2axcodes(volume.affine))


def test_mirror_moves_the_lesion_to_the_right_and_back() -> None:
    volume = turned(scan((64, 64, 64), np.eye(3)), (2, 0, 1), (-1, 1, 1))
    other = mirror(volume)
    bright = world_of(other.shape, other.affine)[other.data[0].numpy() > 900].mean(0)
    np.testing.assert_allclose(bright, LESION * [-1, 1, 1], atol=0.5)
    assert torch.equal(mirror(other).data, volume.data)


# ------------------------------------------------------------------------------------------ crop and pad


@pytest.mark.parametrize("shape", [(5, 20, 9), (8, 8, 8), (3, 4, 30), (12, 13, 14)])
def test_window_keeps_values_in_place_and_onto_undoes_it(shape: tuple[int, int, int]) -> None:
    volume = ramp((9, 12, 10), centred((9, 12, 10), OBLIQUE @ np.diag([1, 2, 3.0])))
    out = window(volume, [-((m - n) // 2) for m, n in zip(shape, volume.shape, strict=True)], shape, fill=-999)
    assert out.shape == shape
    inside = out.data[0].numpy() != -999
    np.testing.assert_allclose(
        out.data.permute(1, 2, 3, 0).numpy()[inside], world_of(out.shape, out.affine)[inside], atol=1e-4
    )
    back = onto(out, volume.shape, volume.affine, fill=-999)
    kept = back.data != -999
    assert torch.equal(back.data[kept], volume.data[kept])
    assert kept[0].sum() == np.prod(np.minimum(shape, volume.shape))


def test_window_cuts_at_an_index() -> None:
    volume = Volume(torch.arange(60.0).reshape(1, 3, 4, 5), np.diag([2.0, 2, 2, 1]))
    out = window(volume, (1, -1, 2), (2, 3, 2), fill=7)
    assert (out.data[0, :, 0] == 7).all()
    assert torch.equal(out.data[0, :, 1:], volume.data[0, 1:, :2, 2:4])
    np.testing.assert_array_equal(out.affine[:3, 3], [2, -2, 4])


def test_onto_refuses_a_grid_between_the_voxels() -> None:
    volume = Volume(torch.rand(1, 4, 4, 4), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    with pytest.raises(ValueError, match="use resample"):
        onto(volume, volume.shape, shifted)
