"""Physics: each effect does what its docstring says, in its docstring's units."""

import math

import numpy as np
import pytest
import torch

from isomorph.labels import CLUSTER, LABELS, TISSUES, mixture, swap_sides
from isomorph.synth.anatomy import WHOLE_HEAD, strip
from isomorph.synth.bias import bias_field
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.deform import displacement, placement, pull
from isomorph.synth.gamma import gamma
from isomorph.synth.mixture import paint
from isomorph.synth.noise import rician
from isomorph.synth.slices import thick_slices
from isomorph.volume import Volume

STILL = {
    "size": [0, 0, 0], "spacing": 1.0, "centre": [0.5] * 3,
    "rotation": [0.0] * 3, "scale": [0.0] * 3, "shear": [0.0] * 3,
    "mirror": False, "velocity": 0.0, "nodes": 20.0, "seed": 0,
}  # fmt: skip
SILENT = dict.fromkeys(TISSUES, 0.0)


def flat(value: float, n: int = 48, mm: float = 1.0) -> Volume:
    return Volume(torch.full((1, n, n, n), value), np.diag([mm, mm, mm, 1.0]))


def acquire(x, axis, spacing, thickness, offset=0.0, sigma=0.0):
    def along(value, other):
        return [value if k == axis else other for k in range(3)]

    return thick_slices(
        x, spacing=along(spacing, 0.1), thickness=along(thickness, 0.1), offset=along(offset, 0.0), sigma=sigma, seed=0
    )


def test_noise_is_gaussian_in_bright_regions():
    y = rician(flat(1.0), sigma=0.05, seed=0).data
    assert y.std().item() == pytest.approx(0.05, rel=0.02)
    assert y.mean().item() == pytest.approx(1.0, rel=0.002)


def test_noise_is_rayleigh_in_air():
    x = flat(0.0)
    x.data[0, 0, 0, 0] = 1.0  # defines the maximum
    y = rician(x, sigma=0.05, seed=0).data
    assert y.mean().item() == pytest.approx(0.05 * math.sqrt(math.pi / 2), rel=0.01)


def test_bias_has_the_announced_strength():
    fields = [
        bias_field(flat(1.0, n=12), strength=0.3, spacing=50.0, seed=s).data.log()[0, 0, 0, 0] for s in range(400)
    ]
    assert torch.stack(fields).std().item() == pytest.approx(0.3, rel=0.1)


def test_gamma_keeps_air_and_maximum(image):
    y = gamma(image, exponent=2.0).data
    assert y.min() == 0
    assert y.max().item() == pytest.approx(image.data.max().item())
    middle = image.data.max() / 2
    assert gamma(flat(1.0).with_data(torch.tensor([middle, 2 * middle]).view(1, 1, 1, 2)), exponent=2.0).data.flatten()[
        0
    ].item() == pytest.approx(middle.item() / 2)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("mm", [0.5, 1.0])
def test_slice_profile_has_the_announced_width(axis, mm):
    """Average over slice positions of the response to a thin sheet: width in mm, not voxels."""
    n, thickness = 96, 4.0
    line = torch.zeros(1, n, 2, 2)
    line[:, n // 2] = 1.0
    x = Volume(line.movedim(1, axis + 1), np.diag([mm, mm, mm, 1.0]))
    images = [acquire(x, axis, thickness, thickness, offset) for offset in (np.arange(64) / 64).tolist()]
    response = torch.stack([y.data.movedim(axis + 1, 1)[0, :, 0, 0] for y in images]).mean(0)
    position = torch.arange(n) * mm
    centre = (response * position).sum() / response.sum()
    variance = (response * (position - centre) ** 2).sum() / response.sum()
    # The profile, less the width that the voxel has already, then the triangle of linear interpolation.
    expected = (thickness**2 - mm**2) / (8 * math.log(2)) + thickness**2 / 6
    assert centre.item() == pytest.approx(n // 2 * mm, abs=0.05)
    assert variance.item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.9])
def test_a_ramp_comes_back_as_the_same_ramp(axis, offset):
    """No half-slice shift: thick slices of a linear ramp, interpolated, are the ramp (inside the first and last)."""
    n = 60
    x = Volume(torch.arange(n).float().view(1, n, 1, 1).movedim(1, axis + 1), np.eye(4))
    y = acquire(x, axis, 5.0, 5.0, offset).data.flatten()
    assert (y - x.data.flatten())[12:-12].abs().max() < 1e-4


def test_thickness_and_spacing_are_independent():
    edge = (torch.arange(80) >= 40).float().view(1, 80, 1, 1)
    x = Volume(edge, np.eye(4))
    thin, thick = (acquire(x, 0, 6.0, thickness).data.flatten() for thickness in (1.0, 6.0))
    assert ((thin > 0.02) & (thin < 0.98)).sum() < ((thick > 0.02) & (thick < 0.98)).sum()


def test_noise_belongs_to_the_slices():
    """Between two slices 8 mm apart the noise is interpolated, hence smooth."""
    y = acquire(flat(1.0), 0, 8.0, 8.0, sigma=0.05).data[0]
    assert y.diff(n=2, dim=0).abs().median() < 1e-5
    assert y.diff(n=2, dim=1).abs().median() > 0.02


def test_no_deformation_is_the_identity(head):
    world, affine = placement(head, **STILL)
    assert torch.equal(pull(head, world, affine, mode="nearest").data, head.data)
    assert np.array_equal(affine, head.affine)


def test_rotation_is_in_degrees(head):
    world, _ = placement(head, **STILL | {"rotation": [0.0, 0.0, 90.0]})
    step = world[1, 0, 0] - world[0, 0, 0]  # one mm to the right in the new head is one mm forward in the old
    assert step.tolist() == pytest.approx([0, 1, 0], abs=1e-5)


def test_the_field_is_in_mm_and_diffeomorphic():
    field = displacement([64, 64, 64], spacing=1.0, velocity=3.0, nodes=16.0, seed=3)
    jacobian = torch.stack([field.diff(dim=k)[:63, :63, :63] for k in range(3)], -1) + torch.eye(3)
    assert torch.linalg.det(jacobian).min() > 0
    assert 0.5 < field.std() < 3.0
    coarse = displacement([32, 32, 32], spacing=2.0, velocity=3.0, nodes=16.0, seed=3)
    assert 0.5 < coarse.std() < 3.0  # mm, whatever the grid


def test_mirror_swaps_left_and_right(head):
    world, affine = placement(head, **STILL | {"mirror": True})
    mirrored = swap_sides(pull(head, world, affine, mode="nearest").data)
    assert set(mirrored.unique().tolist()) == (set(head.data.unique().tolist()) - {17}) | {53}
    where = torch.argwhere(mirrored[0] == 53)[:, 0].float().mean()
    assert where > head.shape[0] / 2  # a right hippocampus, on the right
    assert (mirrored[0, :20] == 41).sum() == 0


def test_every_label_has_one_tissue_and_clusters_share_theirs():
    table = mixture()
    for number, label in LABELS.items():
        assert table[number, TISSUES.index(label.tissue)] == 1
    clusters = table[CLUSTER:]
    assert torch.allclose(clusters.sum(1), torch.ones(len(clusters)))
    assert clusters[20, TISSUES.index("white")] == pytest.approx(1.0)  # level 20 x 0.05 = 1
    assert ((clusters > 0).sum(1) <= 2).all()


def test_paint_gives_each_tissue_its_mean_and_texture(head):
    big = Volume(torch.full((1, 40, 40, 40), 2.0), np.eye(4))
    y = paint(big, means=CONTRAST_TABLES["T1"], stds=SILENT | {"white": 0.1}, seed=1).data
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    assert 0.02 < y.std() < 0.1  # smoothed white noise
    edge = paint(head, means=CONTRAST_TABLES["T1"], stds=SILENT, seed=0).data
    assert ((edge > 0.6) & (edge < 0.95)).any()  # partial volume between cortex and white matter


def test_stripping(head):
    assert torch.equal(strip(head, margin=WHOLE_HEAD, fluid=False).data, head.data)
    perfect = strip(head, margin=0.0, fluid=False).data
    assert set(perfect.unique().tolist()) == {0, 2, 3, 17, 41, 42}
    loose = strip(head, margin=2.0, fluid=True).data
    assert (loose == 515).any()
    assert (loose == 511).sum() < (head.data == 511).sum() / 4
