"""Physics of artefacts: known answers, in the units of the docstrings."""

import math

import numpy as np
import pytest
import torch

from isomorph.synth.artefacts.background import background
from isomorph.synth.artefacts.dropped import dropped
from isomorph.synth.artefacts.ghosting import ghosting
from isomorph.synth.artefacts.orientation import across, in_plane
from isomorph.synth.artefacts.quantise import quantise
from isomorph.synth.artefacts.reslice import reslice
from isomorph.synth.artefacts.slice_motion import beside, displaced, slice_motion
from isomorph.synth.artefacts.spikes import spikes
from isomorph.synth.artefacts.view import view
from isomorph.synth.artefacts.wrap import wrap
from isomorph.volume import Volume


def stack(data, spacing=(1.0, 1.0, 5.0)):
    return Volume(data, np.diag([*spacing, 1.0]))


@pytest.fixture
def noise():
    """An axial stack of 8 slices, positive."""
    return stack(torch.rand(1, 20, 24, 8, generator=torch.Generator().manual_seed(0)) + 0.1)


def test_the_slices_are_found_by_their_spacing():
    cube = torch.zeros(1, 4, 4, 4)
    for axis in range(3):
        spacing = [1.0, 1.1, 0.9]
        spacing[axis] = 4.0
        assert across(stack(cube, spacing), (axis + 1) % 3) == axis
        assert across(stack(cube, (1, 1.1, 1)), axis) == axis  # nearly cubes: as drawn
    assert in_plane(stack(cube), 0) == [0, 1]


def test_a_slice_moves_by_its_mm_and_the_others_stay(noise):
    shifts, turns = torch.zeros(8, 2), torch.zeros(8)
    shifts[3] = torch.tensor([2.0, -3.0])
    y = displaced(stack(noise.data, (1.0, 0.5, 5.0)), 2, shifts, turns).data
    expected = noise.data[..., 3].roll((2, -6), (1, 2))
    torch.testing.assert_close(y[:, 2:, :18, 3], expected[:, 2:, :18], atol=1e-4, rtol=0)
    still = [0, 1, 2, 4, 5, 6, 7]
    torch.testing.assert_close(y[..., still], noise.data[..., still], atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", range(3))
def test_a_slice_turns_by_its_degrees_about_its_middle(axis):
    """A bar along the first axis of the plane, turned by 90 degrees, lies along the second; by 30, at 30."""
    size = [21, 21, 21]
    size[axis] = 3
    x = torch.zeros(1, *size)
    first, second = [k for k in range(3) if k != axis]
    bar = [slice(None), *[slice(None)] * 3]
    bar[first + 1], bar[second + 1] = slice(3, 18), slice(10, 11)
    x[tuple(bar)] = 1
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    y = displaced(stack(x, spacing), 0, torch.zeros(3, 2), torch.tensor([0.0, 90.0, 30.0])).data[0].movedim(axis, 0)
    torch.testing.assert_close(y[0], x[0].movedim(axis, 0)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(y[1], x[0].movedim(axis, 0)[0].T, atol=1e-4, rtol=0)
    where = torch.nonzero(y[2] > 0.5).double() - 10
    main = np.linalg.eigh(np.cov(where.T.numpy()))[1][:, -1]
    assert math.degrees(math.atan2(main[1], main[0])) % 180 == pytest.approx(30, abs=1.5)


def test_motion_has_its_size_and_interleaving_makes_neighbours_differ():
    n = 60
    ramp = torch.arange(40.0).view(1, 40, 1, 1).expand(1, 40, 4, n).contiguous()
    shifts = {}
    for interleave in (1, 2):
        y = slice_motion(stack(ramp), axis=2, shift=2.0, turn=0.0, interleave=interleave, seed=1).data
        shifts[interleave] = (ramp - y)[0, 20, 2]
        assert shifts[interleave].std().item() == pytest.approx(2.0, rel=0.02)
    assert shifts[2].diff().abs().mean() > 1.5 * shifts[1].diff().abs().mean()
    assert torch.equal(shifts[1].sort().values.round(decimals=3), shifts[2].sort().values.round(decimals=3))


@pytest.mark.parametrize("axis", range(3))
def test_a_slice_is_taken_from_beside_its_place_by_its_mm(axis):
    """A ramp through the stack, in mm: each slice shows the place from which it was taken, up to the two ends."""
    n, spacing = 12, [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    ramp = (4.0 * torch.arange(n)).view(1, n, 1, 1).expand(1, n, 5, 5).movedim(1, axis + 1).contiguous()
    shifts = torch.tensor([0.0, 1.5, -2.0, 4.0, 0.0, 6.0, -3.0, 0.5, 0.0, -1.0, 2.0, 3.0])
    y = beside(stack(ramp, spacing), 0, shifts).data.movedim(axis + 1, 1)[0, :, 2, 2]
    expected = (4.0 * torch.arange(n) + shifts).clamp(max=44.0)
    torch.testing.assert_close(y, expected)


def test_motion_goes_through_the_slices_as_far_as_along_them():
    n = 80
    through = (4.0 * torch.arange(n)).view(1, 1, 1, n).expand(1, 6, 6, n).contiguous()
    y = slice_motion(stack(through, (1.0, 1.0, 4.0)), axis=2, shift=2.0, turn=0.0, interleave=2, seed=3).data
    moved = (y - through)[0, 3, 3, 3:-3]
    assert moved.std().item() == pytest.approx(2.0, rel=0.15)


def test_dropped_slices_lose_their_signal_and_no_other(noise):
    y = dropped(noise, axis=0, slices=[0.0, 0.6], left=0.25).data
    factor = (y / noise.data).mean((0, 1, 2))
    assert factor.tolist() == pytest.approx([0.25, 1, 1, 1, 0.25, 1, 1, 1])


def test_a_point_has_two_ghosts_along_the_phase_axis():
    x = torch.zeros(1, 24, 30, 8)
    x[0, 5, 7, 3] = 2.0
    y = ghosting(stack(x), axis=2, phase=1, count=5, strength=0.1, delay=0.3).data
    assert y[0, 5, 7, 3] == 2.0
    assert y[0, 5, 13, 3].item() == pytest.approx(0.2)  # 30 / 5 = 6 further
    assert y[0, 5, 1, 3].item() == pytest.approx(0.2)
    assert (y > 0).sum() == 3


def test_ghosts_are_a_modulation_of_k_space(noise):
    y = ghosting(noise, axis=2, phase=0, count=4, strength=0.05, delay=0.0).data[0]
    lines = torch.arange(20).view(-1, 1, 1)
    k_space = torch.fft.fftn(noise.data[0]) * (1 + 0.1 * torch.cos(2 * math.pi * lines / 4))
    torch.testing.assert_close(y, torch.fft.ifftn(k_space).abs(), atol=1e-5, rtol=0)


def test_a_spike_is_one_point_of_k_space():
    x = stack(torch.ones(1, 20, 40, 10), (1.0, 0.5, 2.0))
    frequency = [3 / 20, 4 / 20, 1 / 20]  # cycles per mm: 3, 4 and 1 over the field of view
    y = spikes(x, axis=2, waves=[[*frequency, 0.1]], amplitude=0.2, where=2.0).data[0]
    spectrum = torch.fft.fftn(y).abs() / y.numel()
    assert spectrum[3, 4, 1].item() == pytest.approx(0.1, abs=1e-4)
    assert spectrum[-3, -4, -1].item() == pytest.approx(0.1, abs=1e-4)
    spectrum[3, 4, 1] = spectrum[-3, -4, -1] = spectrum[0, 0, 0] = 0
    assert spectrum.max() < 1e-4


def test_a_discharge_strikes_one_slice_of_a_stack(noise):
    y = spikes(noise, axis=0, waves=[[0.1, 0.2, 0.0, 0.0]], amplitude=0.2, where=0.5).data
    assert torch.nonzero((y != noise.data).any(1).any(1)[0]).flatten().tolist() == [4]


def test_wrapping_folds_both_ends_inside(noise):
    y = wrap(noise, axis=1, cut=[3.0, 5.0], strength=0.5).data
    expected = noise.data.clone()
    expected[:, :, 16:19] += 0.5 * noise.data[:, :, :3]  # 24 - 3 - 5 = 16 further up
    expected[:, :, 3:8] += 0.5 * noise.data[:, :, 19:]
    expected[:, :, :3] = expected[:, :, 19:] = 0
    torch.testing.assert_close(y, expected)
    assert (wrap(noise, axis=1, cut=[30.0, 30.0], strength=1.0).data > 0).any()  # never all of it


def test_the_field_of_view_ends_where_it_should(noise):
    y = view(noise, cut=[2.0, 0.0, 0.0, 3.9, 5.0, 0.0]).data
    seen = torch.zeros_like(y, dtype=torch.bool)
    seen[:, 2:, :21, 1:] = True
    assert torch.equal(y, noise.data * seen)


def test_air_becomes_zero_or_rayleigh_noise():
    x = torch.full((1, 40, 40, 40), 0.001)
    x[:, 10:30, 10:30, 10:30] = 1.0
    inside = slice(12, 28)
    zero = background(stack(x), threshold=0.05, level=0.0, seed=0).data
    assert (zero[:, :8] == 0).all()
    assert (zero[:, inside, inside, inside] == 1).all()
    noisy = background(stack(x), threshold=0.05, level=0.04, seed=0).data[:, :8]
    assert noisy.mean().item() == pytest.approx(0.04 * math.sqrt(math.pi / 2), rel=0.02)


def test_reslicing_keeps_a_ramp_and_blurs_a_point():
    ramp = stack(torch.arange(40.0).view(1, 40, 1, 1), (1, 1, 1))
    y = reslice(ramp, spacing=[1.2, 0, 0], offset=[0.4, 0, 0]).data
    torch.testing.assert_close(y[:, 3:-3], ramp.data[:, 3:-3], atol=1e-4, rtol=0)
    point = torch.zeros(1, 41, 1, 1)
    point[0, 20] = 1
    half = reslice(stack(point), spacing=[1.0, 0, 0], offset=[0.5, 0, 0]).data.flatten()
    assert half[18:23].tolist() == pytest.approx([0, 0.25, 0.5, 0.25, 0])  # two averages of neighbours
    same = reslice(stack(point), spacing=[1.0, 0, 0], offset=[0.0, 0, 0]).data
    torch.testing.assert_close(same, point)


def test_eight_bits_are_256_levels(noise):
    y = quantise(noise, levels=256, top=1.0).data
    step = noise.data.max() / 255
    assert (y - noise.data).abs().max() <= step / 2 + 1e-6
    few = quantise(noise.with_data(noise.data - 0.1), levels=4, top=0.5).data
    assert len(few.unique()) == 4
    assert few.max().item() == pytest.approx(0.5 * (noise.data.max().item() - 0.1))


def test_what_does_not_happen_changes_nothing(noise):
    done = [
        slice_motion(noise, axis=0, shift=0.0, turn=0.0, interleave=2, seed=0),
        dropped(noise, axis=0, slices=[], left=0.0),
        ghosting(noise, axis=0, phase=0, count=2, strength=0.0, delay=0.0),
        spikes(noise, axis=0, waves=[], amplitude=0.1, where=0.5),
        wrap(noise, axis=0, cut=[0.0, 0.0], strength=1.0),
        view(noise, cut=[0.0] * 6),
        background(noise, threshold=0.0, level=0.1, seed=0),
        reslice(noise, spacing=[0.0] * 3, offset=[0.5] * 3),
        quantise(noise, levels=0, top=0.5),
    ]
    assert all(torch.equal(y.data, noise.data) for y in done)
