"""Inter-scan motion and what registration leaves of it, in degrees and mm on any grid."""

import numpy as np
import pytest
import torch

from isomorph.space import resample
from isomorph.synth.channel import cover
from isomorph.synth.head import Grid
from isomorph.synth.motion import Motion, registered, rigid
from isomorph.volume import Volume

NONE = {"rotation": [0.0] * 3, "translation": [0.0] * 3, "error_rotation": [0.0] * 3, "error_translation": [0.0] * 3}
SOME = {"rotation": [7.0, -4.0, 9.0], "translation": [12.0, -18.0, 5.0]}


def spot(where, n=33, mm=1.0):
    """A Gaussian of 3 mm, at a place in mm from the middle."""
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = -mm * (n - 1) / 2
    axes = [torch.arange(n) * mm + affine[k, 3] - where[k] for k in range(3)]
    squared = sum(a**2 for a in torch.meshgrid(*axes, indexing="ij"))
    return Volume(torch.exp(-0.5 * squared / 9)[None], affine)


def place(x):
    """Centre of mass, mm."""
    index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in x.shape], indexing="ij")).double()
    centre = (index * x.data.double()).flatten(1).sum(1) / x.data.double().sum()
    return x.affine[:3, :3] @ centre.numpy() + x.affine[:3, 3]


def test_a_rotation_of_90_degrees_turns_x_into_y_and_a_translation_is_in_mm():
    move = rigid([0.0, 0.0, 90.0], [1.0, 2.0, 3.0], np.zeros(3))
    assert move @ [1, 0, 0, 1] == pytest.approx([1, 3, 3, 1])
    about = rigid([0.0, 30.0, 0.0], [0.0] * 3, np.array([5.0, 6.0, 7.0]))
    assert about @ [5, 6, 7, 1] == pytest.approx([5, 6, 7, 1])


@pytest.mark.parametrize("mm", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("axis", range(3))
def test_an_error_of_translation_is_left_in_mm_whatever_the_motion_and_the_grid(mm, axis):
    error = [0.0, 0.0, 0.0]
    error[axis] = 1.5
    centre, where = np.zeros(3), np.array([3.0, -2.0, 1.0])
    n = round(32 / mm) | 1
    moved = rigid(SOME["rotation"], SOME["translation"], centre)
    # The scan of the head that moved: the spot lies where the motion has brought it.
    there = (moved @ [*where, 1])[:3]
    scan = spot(there, n=2 * n, mm=mm)
    back = registered(scan, **NONE | SOME | {"error_translation": error}, centre=centre)
    grid = spot(where, n=n, mm=mm)
    seen = resample(back, grid.shape, grid.affine, fill=None)
    assert place(seen) - place(grid) == pytest.approx(-np.array(error), abs=0.05)


def test_an_error_of_rotation_is_left_in_degrees():
    where = np.array([10.0, 0.0, 0.0])
    scan = spot(where, n=41)
    seen = resample(registered(scan, **NONE | {"error_rotation": [0.0, 0.0, 6.0]}), scan.shape, scan.affine)
    angle = np.degrees(np.arctan2(*place(seen)[[1, 0]]))
    assert angle == pytest.approx(-6.0, abs=0.1)


def test_registration_without_error_undoes_the_motion():
    scan = spot([1.0, 2.0, 3.0])
    back = registered(scan, **NONE | SOME)
    assert np.allclose(rigid(SOME["rotation"], SOME["translation"], np.zeros(3)) @ back.affine, scan.affine)
    assert back.data is scan.data


def test_the_field_of_view_follows_the_head():
    grid = Grid((20, 24, 16), np.diag([2.0, 2.0, 2.0, 1.0]))
    moved = rigid([8.0, -9.0, 5.0], [17.3, -4.0, 9.0], grid.middle)
    wide = cover(grid, moved)
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(grid.shape) - 1)
        there = np.linalg.inv(wide.affine) @ moved @ grid.affine @ [*index, 1]
        assert (there[:3] >= -1e-6).all()
        assert (there[:3] <= np.array(wide.shape) - 1 + 1e-6).all()
    offset = np.linalg.inv(grid.affine) @ wide.affine  # it is the lattice of the scanner, continued
    assert offset[:3, 3] == pytest.approx(np.round(offset[:3, 3]))


def test_draws_have_the_announced_spread(rng):
    draws = [
        Motion(rotation=10, translation=20, error_rotation=0.3, error_translation=0.3).draw(rng) for _ in range(500)
    ]
    for name, bound in (("rotation", 10), ("translation", 20)):
        values = np.array([d[name] for d in draws])
        assert np.abs(values).max() <= bound
        assert values.std(0) == pytest.approx([bound / 3**0.5] * 3, rel=0.12)
    for name in ("error_rotation", "error_translation"):
        assert np.array([d[name] for d in draws]).std(0) == pytest.approx([0.3] * 3, rel=0.12)
