"""Physics: each effect does what its docstring says, in its docstring's units."""

import math

import numpy as np
import pytest
import torch

from isomorph.labels import CLUSTER, LABELS, TISSUES, mixture, swap_sides
from isomorph.space import resample
from isomorph.synth.anatomy import WHOLE_HEAD, strip
from isomorph.synth.bias import bias_field
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.coordinates import positions, pull
from isomorph.synth.deform import displacement, placement
from isomorph.synth.gamma import gamma
from isomorph.synth.mixture import paint
from isomorph.synth.noise import rician
from isomorph.synth.slices import FULL_WIDTH, thick_slices
from isomorph.volume import Volume

STILL = {
    "size": [0, 0, 0], "spacing": 1.0, "centre": [0.5] * 3,
    "rotation": [0.0] * 3, "scale": [0.0] * 3, "shear": [0.0] * 3,
    "mirror": False, "velocity": 0.0, "nodes": 20.0, "seed": 0,
}  # fmt: skip
SILENT = dict.fromkeys(TISSUES, 0.0)


def flat(value: float, n: int = 48, mm: float = 1.0) -> Volume:
    return Volume(torch.full((1, n, n, n), value), np.diag([mm, mm, mm, 1.0]))


def acquire(x, axis, spacing, thickness, offset=0.0, sigma=0.0, alpha=FULL_WIDTH):
    """Slices, put back onto the grid that they were taken from."""

    def along(value, other):
        return [value if k == axis else other for k in range(3)]

    y = thick_slices(
        x, spacing=along(spacing, 0.1), thickness=along(thickness, 0.1), alpha=alpha, offset=along(offset, 0.0),
        sigma=sigma, seed=0,
    )  # fmt: skip
    return resample(y, x.shape, x.affine, fill=None)


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
    # The profile, then the triangle of linear interpolation.
    expected = thickness**2 / (8 * math.log(2)) + thickness**2 / 6
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


@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("mm", [0.5, 1.0])
def test_the_profile_is_that_of_the_2021_paper(alpha, mm):
    """sigma = 2 alpha ln(10) / (2 pi) r / r_target, in voxels: the samples of an edge are a Gaussian's integral."""
    thickness, n = 3.0, 120
    x = Volume((torch.arange(n) >= n // 2).float().view(1, n, 1, 1), np.diag([mm, mm, mm, 1.0]))
    y = thick_slices(
        x, spacing=[5.0, 0.1, 0.1], thickness=[thickness, 0.1, 0.1], alpha=alpha, offset=[0.35, 0, 0], sigma=0.0, seed=0
    )
    sigma = 2 * alpha * math.log(10) / (2 * math.pi) * thickness / mm
    at = (0.35 + np.arange(y.shape[0])) * 5.0 / mm  # voxels
    expected = [0.5 * (1 + math.erf((p - (n / 2 - 0.5)) / sigma / math.sqrt(2))) for p in at]
    assert y.data.flatten().tolist() == pytest.approx(expected, abs=0.006)
    assert y.affine[0].tolist() == pytest.approx([5.0, 0, 0, 0.35 * 5.0])


@pytest.mark.parametrize(("spacing", "thickness"), [(6.0, 3.0), (3.0, 6.0)])
@pytest.mark.parametrize("offset", [0.0, 0.25, 0.7])
def test_an_edge_stays_where_it_is(spacing, thickness, offset):
    """With gaps and with overlap; averaged over edge positions, the half-way point is not shifted."""
    n, shifts = 90, []
    for edge in range(30, 60):
        x = Volume((torch.arange(n) >= edge).float().view(1, n, 1, 1), np.eye(4))
        y = acquire(x, 0, spacing, thickness, offset).data.flatten()
        shifts.append((n - y.sum().item()) - edge)
    assert np.mean(shifts) == pytest.approx(0.0, abs=0.02)
    assert np.abs(shifts).max() < spacing / 2


def test_noise_belongs_to_the_slices():
    """Between two slices 8 mm apart the noise is interpolated, hence smooth."""
    y = acquire(flat(1.0), 0, 8.0, 8.0, sigma=0.05).data[0]
    assert y.diff(n=2, dim=0).abs().median() < 1e-5
    assert y.diff(n=2, dim=1).abs().median() > 0.02


def test_no_deformation_is_the_identity(head):
    place = placement(head, **STILL)
    assert torch.equal(pull(head, place.source(), place.affine, mode="nearest").data, head.data)
    assert np.array_equal(place.affine, head.affine)


def test_rotation_is_in_degrees(head):
    world = placement(head, **STILL | {"rotation": [0.0, 0.0, 90.0]}).source()
    step = world[:, 1, 0, 0] - world[:, 0, 0, 0]  # one mm to the right in the new head is one mm forward in the old
    assert step.tolist() == pytest.approx([0, 1, 0], abs=1e-5)


def test_a_head_looks_the_same_wherever_it_is_asked_for(head):
    """Coordinates at arbitrary points are those of the grid, up to the interpolation of the field."""
    place = placement(head, **STILL | {"rotation": [5.0, -8.0, 3.0], "velocity": 3.0, "seed": 4})
    grid = place.source()
    shift = place.affine.copy()
    shift[:3, 3] += 3.0  # three voxels on, on each axis
    there = place.source(positions((30, 30, 30), shift))
    torch.testing.assert_close(there, grid[:, 3:33, 3:33, 3:33], atol=1e-3, rtol=0)


def test_the_field_is_in_mm_and_diffeomorphic():
    field = displacement([64, 64, 64], spacing=1.0, velocity=3.0, nodes=16.0, seed=3)
    jacobian = torch.stack([field.diff(dim=k)[:63, :63, :63] for k in range(3)], -1) + torch.eye(3)
    assert torch.linalg.det(jacobian).min() > 0
    assert 0.5 < field.std() < 3.0
    coarse = displacement([32, 32, 32], spacing=2.0, velocity=3.0, nodes=16.0, seed=3)
    assert 0.5 < coarse.std() < 3.0  # mm, whatever the grid


def test_mirror_swaps_left_and_right(head):
    place = placement(head, **STILL | {"mirror": True})
    mirrored = swap_sides(pull(head, place.source(), place.affine, mode="nearest").data)
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


def stripped(head, **said):
    whole = {"margin": WHOLE_HEAD, "fluid": False, "remnants": 0.0, "bites": [], "face": WHOLE_HEAD, "tilt": 45.0}
    return strip(head, **whole | {"seed": 0} | said).data


def test_stripping(head):
    assert torch.equal(stripped(head), head.data)
    perfect = stripped(head, margin=0.0)
    assert set(perfect.unique().tolist()) == {0, 2, 3, 17, 41, 42}
    loose = stripped(head, margin=2.0, fluid=True)
    assert (loose == 515).any()
    assert (loose == 511).sum() < (head.data == 511).sum() / 4


def test_remnants_are_lumps_near_the_brain(head):
    perfect, lumpy = stripped(head, margin=0.0), stripped(head, margin=0.0, remnants=4.0)
    left = (lumpy != perfect)[0]
    assert 0.02 < left.sum() / (head.data != perfect).sum() < 0.4
    brain = perfect[0] > 0
    far = torch.cdist(torch.nonzero(left).float(), torch.nonzero(brain).float()).amin(1)
    assert far.max() <= 4 * 3**0.5 + 1e-3
    assert torch.equal(lumpy[0][brain], perfect[0][brain])


def test_a_bite_is_a_ball_at_the_surface_of_the_brain(head):
    whole, bitten = stripped(head, margin=0.0), stripped(head, margin=0.0, bites=[[0.4, 6.0]])
    gone = torch.nonzero((whole != bitten)[0]).float()
    ball = 4 / 3 * math.pi * 6**3
    assert 0.3 * ball < len(gone) < ball
    assert torch.cdist(gone, gone).max() <= 12


def test_defacing_leaves_the_brain_and_what_lies_behind_it(head):
    tilt = 40.0
    cut = stripped(head, face=2.0, tilt=tilt)
    gone = torch.nonzero((head.data != cut)[0]).double()
    assert len(gone) > 100
    assert torch.equal(cut >= 2, (head.data >= 2) & ((cut > 0) | (head.data == 0)))
    brain = torch.nonzero((head.data[0] < 24) & (head.data[0] > 0)).double()
    normal = torch.tensor([0, math.cos(math.radians(tilt)), -math.sin(math.radians(tilt))], dtype=torch.float64)
    assert (gone @ normal).min() > (brain @ normal).max() + 2 - 1e-3
    behind = torch.nonzero((cut > 24)[0]).double()
    assert (behind @ normal).max() <= (brain @ normal).max() + 2 + 1e-3
