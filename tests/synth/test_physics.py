"""Physics: each effect does what its docstring says, in its docstring's units."""

import math
from random import Random

import numpy as np
import pytest
import torch

from isomorph import config
from isomorph.labels import CLUSTER, LABELS, SEAM, TISSUES, mixture, swap_sides
from isomorph.profile import stretch
from isomorph.space import resample
from isomorph.synth.bias import bias_field
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.coordinates import positions, pull
from isomorph.synth.deform import exponential, integrated, placement
from isomorph.synth.gamma import Gamma, gamma
from isomorph.synth.mixture import paint
from isomorph.synth.noise import rician
from isomorph.synth.slices import FULL_WIDTH, Slices, thick_slices
from isomorph.synth.strip import WHOLE_HEAD, strip
from isomorph.synth.texture import texture
from isomorph.synth.window import window
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


def displacement(shape, **how):
    """(I, J, K, 3) in mm, on the grid itself."""
    return stretch(integrated(shape, **how)[0], shape).movedim(0, -1)


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
        assert table[number, TISSUES.index(label.tissue)] == (0.5 if number in SEAM else 1)
        assert table[number].sum() == 1
    clusters = table[CLUSTER:]
    assert torch.allclose(clusters.sum(1), torch.ones(len(clusters)))
    assert clusters[20, TISSUES.index("white")] == pytest.approx(1.0)  # level 20 x 0.05 = 1
    assert ((clusters > 0).sum(1) <= 2).all()
    white = clusters[:, TISSUES.index("white")]
    assert torch.allclose(white[20:25], torch.ones(5))  # with noise in it, and no vein: dark in most contrasts
    assert white[24] > white[26] > white[29] == 0


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


@pytest.mark.parametrize("mm", [0.5, 1.0, 2.0])
def test_a_new_grid_has_its_voxels_where_it_says(mm):
    """No half-voxel shift: a volume whose brightness is its place in mm, on a finer or a coarser grid, still is."""
    x = Volume(torch.zeros(1, 40, 44, 48), np.diag([1.0, 1.0, 1.0, 1.0]))
    for axis in range(3):
        ramp = x.with_data(positions(x.shape, x.affine)[axis : axis + 1])
        place = placement(ramp, **STILL | {"size": [24.0, 24.0, 24.0], "spacing": mm, "centre": [0.3, 0.5, 0.8]})
        y = pull(ramp, place.source(), place.affine, mode="bilinear")
        assert y.spacing == pytest.approx((mm, mm, mm))
        torch.testing.assert_close(y.data[0], positions(y.shape, y.affine)[axis], atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [24, 25])
def test_a_mirror_stands_in_the_middle_of_the_grid(n):
    """Even or odd, labels and a real target are the same voxels in the opposite order: no half-voxel shift."""
    rng = torch.Generator().manual_seed(0)
    x = Volume(torch.rand(1, n, 20, 22, generator=rng), np.eye(4))
    place = placement(x, **STILL | {"mirror": True})
    for mode in ("nearest", "bilinear"):
        y = pull(x, place.source(), place.affine, mode=mode)
        torch.testing.assert_close(y.data, x.data.flip(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", range(3))
def test_scale_and_shear_are_those_that_were_drawn(axis):
    x = flat(0.0, n=21)
    scale = [0.0, 0.0, 0.0]
    scale[axis] = math.log(1.1)
    world = placement(x, **STILL | {"scale": scale}).source().flatten(1)
    extent = world.amax(1) - world.amin(1)
    assert (extent / 20).tolist() == pytest.approx([1.1 if k == axis else 1.0 for k in range(3)], abs=1e-4)
    sheared = placement(x, **STILL | {"shear": [0.1, 0.0, 0.0]}).source()
    step = sheared[:, 0, 1, 0] - sheared[:, 0, 0, 0]
    assert step.tolist() == pytest.approx([0.1, 1.0, 0.0], abs=1e-5)


def test_a_velocity_is_followed_for_as_long_as_it_is_one():
    """The exponential of a constant is that constant; of v = a x, it is (exp(a) - 1) x: a linear flow for one unit."""
    shape, n = [41, 41, 41], 41
    line = torch.linspace(0, 40, n)
    constant = torch.tensor([2.0, -1.0, 0.5]).view(1, 3, 1, 1, 1).expand(1, 3, n, n, n)
    assert exponential(constant, shape, [1.0] * 3).flatten(2)[0].T.tolist()[0] == pytest.approx([2, -1, 0.5], abs=1e-4)
    velocity = torch.zeros(1, 3, n, n, n)
    velocity[0, 1] = (0.2 * (line - 20)).view(1, n, 1)
    inner = slice(8, 33)  # beyond, the edge is extended
    field = exponential(velocity, shape, [1.0] * 3)[0, 1, 5, inner, 7]
    expected = (math.exp(0.2) - 1) * (line[inner] - 20)
    assert (field - expected).abs().max() < 0.02


def test_a_field_is_the_same_in_mm_on_any_grid():
    said = {"velocity": 3.0, "nodes": 16.0, "seed": 3}
    fine, coarse = displacement([96] * 3, spacing=1.0, **said), displacement([48] * 3, spacing=2.0, **said)
    there = fine.unflatten(0, (48, 2)).unflatten(2, (48, 2)).unflatten(4, (48, 2)).mean((1, 3, 5))
    inner = slice(4, -4)
    assert (there - coarse)[inner, inner, inner].abs().max() < 0.5  # lattices differ by half a voxel at their ends
    assert fine.std() > 1


@pytest.mark.parametrize("name", config.names())
def test_no_recipe_folds_a_head(name):
    """The strongest velocity on the densest nodes that a recipe draws: everywhere the Jacobian is above 0."""
    recipe = config.load(name)
    for stage in recipe.training.stages:
        prior = config.stage_generator(recipe, stage).deform
        for seed in range(3):
            said = {"velocity": prior.velocity[1], "nodes": prior.nodes[0], "seed": seed}
            field = displacement([72] * 3, spacing=1.0, **said)
            gradient = torch.stack([field.diff(dim=k)[:71, :71, :71] for k in range(3)], -1)
            assert torch.linalg.det(gradient + torch.eye(3)).min() > 0, f"{name}, seed {seed}"


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_of_one_voxel_is_that_voxel_and_no_more(axis):
    """Half of it half a voxel beside its centre, nothing beyond the next; so is what a crop leaves at a face."""
    size = [6, 6, 6]
    size[axis] = 1
    x = Volume(torch.full((1, *size), 8.0), np.eye(4))
    for away, expected in ((0.0, 8.0), (0.5, 4.0), (-0.5, 4.0), (1.0, 0.0), (-2.0, 0.0), (7.0, 0.0)):
        there = torch.full((3, 1, 1, 1), 2.0)
        there[axis] = away
        assert pull(x, there, x.affine, mode="bilinear").data.item() == pytest.approx(expected), away
    whole = Volume(torch.full((1, 6, 6, 6), 8.0), np.eye(4))
    for away, expected in ((5.5, 4.0), (6.0, 0.0), (9.0, 0.0), (-0.5, 4.0), (-3.0, 0.0)):
        there = torch.full((3, 1, 1, 1), 2.0)
        there[axis] = away
        assert pull(whole, there, whole.affine, mode="bilinear").data.item() == pytest.approx(expected), away
        assert pull(whole, there, whole.affine, mode="nearest").data.item() in (0.0, 8.0)


def test_a_bias_field_is_linear_between_nodes_that_lie_as_far_apart_as_announced():
    log = bias_field(flat(1.0, n=61), strength=0.5, spacing=30.0, seed=1).data[0].log()
    for axis in range(3):
        bends = log.diff(n=2, dim=axis).abs().amax([k for k in range(3) if k != axis])
        assert (torch.nonzero(bends > 1e-4).flatten() + 1).tolist() == [30]  # nodes at 0, 30 and 60 mm


def test_gamma_is_uniform_as_in_the_2021_paper(rng):
    drawn = np.array([Gamma(exponent=(0.7, 1.3)).draw(rng)["exponent"] for _ in range(3000)])
    assert drawn.min() >= 0.7
    assert drawn.max() <= 1.3
    assert drawn.mean() == pytest.approx(1.0, abs=0.01)
    assert drawn.std() == pytest.approx(0.6 / math.sqrt(12), rel=0.03)


def test_a_window_takes_bright_tissue_to_its_gain_and_compresses_what_is_brighter():
    x = flat(0.0, n=30)
    x.data[:, 5:25, 5:25, 5:25] = 300.0
    x.data[0, 15, 15, 15] = 1e5  # a hot voxel changes nothing
    for gain in (0.6, 1.0):
        y = window(x, gain=gain).data
        assert y[0, 10, 10, 10].item() == pytest.approx(gain, rel=1e-5)
        assert y[0, 0, 0, 0] == 0
        assert y.max().item() == pytest.approx(1.5, abs=1e-3)
    bright = window(x, gain=1.2).data[0, 10, 10, 10].item()
    assert bright == pytest.approx(1 + 0.5 * math.tanh(0.4), rel=1e-5)
    assert window(x, gain=1.0, like=x.with_data(2 * x.data)).data[0, 10, 10, 10].item() == pytest.approx(0.5)


@pytest.mark.parametrize("length", [6.0, 12.0])
@pytest.mark.parametrize("mm", [1.0, 2.0])
def test_a_texture_has_unit_deviation_and_its_length_in_mm(length, mm):
    n = round(96 / mm)
    t = texture(5, (n, n, n), (mm, mm, mm), length, like=torch.empty(0))
    assert t.std().item() == pytest.approx(1, abs=0.2)

    def alike(distance):
        k = round(distance / mm)
        return (t[k:] * t[: n - k]).mean().item() / t.square().mean().item()

    assert alike(length / 6) > 0.75
    assert abs(alike(3 * length)) < 0.15


def test_gaps_lie_between_thick_slices_and_nowhere_else():
    thick = Slices(thick=1.0, orientation="axial", gaps=(0.4, 0.4))
    fine = Slices(thick=0.0, blurred=1.0, gaps=(0.4, 0.4))
    for number in range(20):
        draw = thick.draw(Random(number))
        share = [a / b for a, b in zip(draw["thickness"], draw["spacing"], strict=True)]
        assert share[2] == pytest.approx(0.4)
        assert min(share[:2]) >= 0.6
        draw = fine.draw(Random(number))
        assert min(a / b for a, b in zip(draw["thickness"], draw["spacing"], strict=True)) >= 0.6
