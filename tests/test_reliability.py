"""Reliability maps whose values can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from phantoms import centred

from isomorph.space import pooled, reliability

ONE = np.eye(4)


def slices(spacing: float, first: float, axis: int = 0) -> np.ndarray:
    affine = np.eye(4)
    affine[axis, axis], affine[axis, 3] = spacing, first
    return affine


@pytest.mark.parametrize("axis", range(3))
def test_one_on_slices_zero_between(axis: int) -> None:
    shape = [6, 6, 6]
    shape[axis] = 4
    size = [6, 6, 6]
    size[axis] = 20
    got = reliability(tuple(shape), slices(5, 2, axis), tuple(size), ONE).movedim(axis, 0)
    expected = torch.zeros(20)
    expected[[2, 7, 12, 17]] = 1
    torch.testing.assert_close(got, expected[:, None, None].expand_as(got), atol=1e-6, rtol=0)


def test_fractions_where_a_slice_lies_between_two_voxels() -> None:
    got = reliability((3, 1, 1), slices(5, 2.25), (16, 1, 1), ONE).flatten()
    expected = torch.zeros(16)
    expected[[2, 7, 12]], expected[[3, 8, 13]] = 0.75, 0.25
    torch.testing.assert_close(got, expected)


def test_spacings_below_two_voxels_share_voxels() -> None:
    got = reliability((4, 1, 1), slices(1.5, 0), (6, 1, 1), ONE).flatten()  # at 0, 1.5, 3, 4.5
    assert got.tolist() == pytest.approx([1, 0.5, 0.5, 1, 0.5, 0.5])


@pytest.mark.parametrize("spacing", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("first", [0.0, 0.4])
def test_a_scan_as_fine_as_the_grid_is_measured_throughout(spacing: float, first: float) -> None:
    got = reliability((40, 1, 1), slices(spacing, first), (9, 1, 1), ONE).flatten()
    assert got[1:9].tolist() == pytest.approx([1.0] * 8, abs=1e-5)


def test_three_coarse_directions_multiply() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    got = reliability((3, 3, 3), affine, (5, 7, 9), ONE)
    assert got.sum().item() == pytest.approx(27, abs=1e-4)
    assert got[::2, ::3, ::4].min() == 1


def test_nothing_is_known_beyond_the_first_and_last_slice() -> None:
    got = reliability((2, 1, 1), slices(4, 6), (20, 1, 1), ONE).flatten()
    assert (got > 1e-6).nonzero().flatten().tolist() == [6, 10]


def test_it_counts_mm_not_voxels() -> None:
    grid = np.diag([2.0, 2.0, 2.0, 1.0])
    got = reliability((3, 1, 1), slices(6, 1), (9, 1, 1), grid).flatten()  # slices at 1, 7, 13 mm, voxels every 2 mm
    assert got.tolist() == pytest.approx([0.5, 0.5, 0, 0.5, 0.5, 0, 0.5, 0.5, 0])


def test_under_rotation_slices_are_crossed_at_an_angle_and_keep_their_share() -> None:
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    affine = centred((60, 60, 16), turn @ np.diag([1.0, 1.0, 5.0]))
    got = reliability((60, 60, 16), affine, (40, 40, 40), centred((40,) * 3, ONE[:3, :3]))
    inner = got[4:-4, 4:-4, 4:-4]
    assert inner.mean().item() == pytest.approx(1 / 5, rel=0.03)
    assert ((inner > 0.05) & (inner < 0.95)).float().mean() > 0.1
    # Along the slice normal the map falls from 1 to 0 over a voxel: its value is 1 - distance to the nearest slice.
    index = np.stack(np.meshgrid(*map(np.arange, got.shape), indexing="ij"), -1)
    world = index @ ONE[:3, :3] + centred((40,) * 3, ONE[:3, :3])[:3, 3]
    along = world @ turn[:, 2] / 5 + 7.5
    expected = np.clip(1 - np.abs(along - along.round()) * 5, 0, None)
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-3)


def test_a_swapped_or_mirrored_scan_has_the_same_map() -> None:
    straight = reliability((8, 8, 4), np.diag([1.0, 1.0, 5.0, 1.0]), (8, 8, 18), ONE)
    turned = np.array([[0, 0, -1.0, 7], [0, 1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]])  # slices first, right to left
    torch.testing.assert_close(reliability((4, 8, 8), turned, (8, 8, 18), ONE), straight, atol=1e-5, rtol=0)


def test_a_slice_fills_one_of_two_voxels_and_what_is_fine_fills_all() -> None:
    on = reliability((4, 2, 2), slices(4, 0.5), (16, 2, 2), ONE)[None]  # between two voxels of 1 mm, in one of 2 mm
    assert pooled(on, 2).flatten().tolist() == pytest.approx([1, 0] * 4)
    everywhere = reliability((20, 2, 2), slices(1, 0), (16, 2, 2), ONE)[None]
    assert pooled(everywhere, 2).flatten().tolist() == pytest.approx([1] * 8)
    assert torch.equal(pooled(on, 1), on)
