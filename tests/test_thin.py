"""Thin scans made thick, and where the brain is: known grids and spheres."""

import math

import numpy as np
import pytest
import torch

from isomorph.evaluate.brain import rough_brain_mask
from isomorph.evaluate.thin import thicken
from isomorph.profile import FWHM_PER_SIGMA
from isomorph.space import canonical_grid, onto
from isomorph.volume import Volume


def lines(n: int, voxel: float = 1.0) -> Volume:
    """Ones, n planes along the second axis."""
    affine = np.diag([1.0, float(np.float32(voxel)), 1.0, 1.0])
    affine[:3, 3] = 7.25, -31.5, 12
    return Volume(torch.ones(1, 6, n, 5), affine)


@pytest.mark.parametrize("spacing", [3.0, 4.0, 5.0, 7.0])
@pytest.mark.parametrize("n", range(165, 172))
@pytest.mark.parametrize("voxel", [1.0, 1.0000001, 0.9999999])
def test_the_grid_of_a_prediction_has_the_voxel_centres_of_the_truth(n, spacing, voxel):
    thin = lines(n, voxel)
    thick = thicken(thin, axis=1, spacing=spacing, thickness=3.0)
    assert thick.shape[1] == n // int(spacing)
    again = onto(thin, *canonical_grid(thick))  # refuses grids that lie between each other
    assert again.data.all()  # nothing is beyond the truth
    before = round(np.linalg.solve(thin.affine, again.affine)[1, 3])
    assert abs(before - (n - again.shape[1]) / 2) <= 0.5  # in the middle


def test_a_slice_is_as_thick_as_it_is_said_to_be():
    thin = lines(165)
    thin.data.zero_()
    thin.data[:, :, 82] = 1  # the middle of a slice of 3, 5 or 11 planes
    sigma = math.sqrt(3**2 - 1) / FWHM_PER_SIGMA  # the voxel is 1 mm of it
    for spacing in (3.0, 5.0, 11.0):
        profile = thicken(thin, axis=1, spacing=spacing, thickness=3.0).data[0, 0, :, 0]
        assert profile.max().item() == pytest.approx(1 / (sigma * math.sqrt(2 * math.pi)), rel=0.02)


def test_a_slice_is_as_thick_as_slices_lie_apart_unless_told():
    thin = Volume(torch.rand(1, 3, 40, 3), np.eye(4))
    thick = thicken(thin, axis=1, spacing=5.0)
    assert torch.equal(thick.data, thicken(thin, axis=1, spacing=5.0, thickness=5.0).data)
    assert thicken(thin, axis=1, spacing=40.0).shape == (3, 1, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spacing": 5.0, "thickness": 0}, "thickness is 0; give millimetres above 0"),
        ({"spacing": 5.0, "thickness": -1.0}, "thickness is -1.0"),
        ({"spacing": 0}, "spacing is 0"),
        ({"spacing": -5.0}, "spacing is -5.0"),
        ({"spacing": math.nan}, "spacing is nan"),
        ({"spacing": 41.0}, r"spacing is 41.0 mm and the field of view 40 mm; give that much at most"),
    ],
)
def test_slices_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        thicken(lines(40), axis=1, **wrong)


@pytest.mark.parametrize("mm", [1.0, 2.0])
def test_a_brain_is_as_large_in_voxels_of_any_size(mm):
    n = int(120 / mm)
    world = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij")) - (n - 1) / 2) * mm
    sphere = torch.from_numpy((np.linalg.norm(world, axis=0) <= 40).astype(np.float32))[None] * 100
    mask = rough_brain_mask(Volume(sphere, np.diag([mm, mm, mm, 1.0])))
    assert mask.sum().item() * mm**3 / 1000 == pytest.approx(268, rel=0.04)
