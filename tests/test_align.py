"""A head that moved by a known amount is put back."""

import numpy as np
import phantoms
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from isomorph.align import aligned
from isomorph.volume import Volume

pytest.importorskip("ants")


def head(shape):
    """Lopsided, large things and small ones: an ellipsoid hardly shows a turn, and a cloud of small things alone looks
    half right in many wrong places."""
    rng = np.random.default_rng(0)
    clouds = [ndimage.gaussian_filter(rng.normal(size=shape), width) for width in (3, 6, 12)]
    inside = sum(g**2 for g in np.meshgrid(*[np.linspace(-1.2, 1.2, n) for n in shape], indexing="ij")) < 1
    return inside * (5 + sum(cloud / cloud.std() for cloud in clouds)).clip(0)


@pytest.mark.parametrize(("turn", "shift"), [((0, 0, 0), (0.5, -2.0, 3.0)), ((4.0, -3.0, 5.0), (-3.0, 1.0, -2.0))])
def test_a_known_movement_is_undone(turn, shift):
    shape, spacing = (64, 72, 60), np.diag([1.5, 1.5, 1.5])
    fixed = Volume(torch.tensor(head(shape), dtype=torch.float32)[None], phantoms.centred(shape, spacing))
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), shift
    moved = Volume(fixed.data, move @ fixed.affine)
    back = aligned(moved, fixed)
    corners = np.array([[0, 0, 0, 1], [63, 0, 59, 1], [63, 71, 0, 1], [0, 71, 59, 1]]).T
    assert np.abs((back.affine - fixed.affine) @ corners).max() < 0.5  # mm
    assert back.data is moved.data


def test_the_same_scans_are_aligned_the_same_way_again():
    shape, move = (48, 56, 52), np.eye(4)
    fixed = Volume(torch.tensor(head(shape), dtype=torch.float32)[None], phantoms.centred(shape, np.eye(3) * 2))
    move[:3, 3] = 3.3, -1.7, 2.1
    moved = Volume(fixed.data, move @ fixed.affine)
    once, again = (aligned(moved, fixed).affine for _ in range(2))
    np.testing.assert_array_equal(once, again)
