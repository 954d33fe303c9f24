"""Several scans of one exam: each with its own physics, all in one place."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from isomorph.labels import CLUSTER, brain_mask
from isomorph.predict.prepare import with_reliability
from isomorph.space import pooled, resample
from isomorph.synth import Channel, Deform, Generator, Motion, Pathology
from isomorph.synth.bias import Bias
from isomorph.synth.gamma import Gamma
from isomorph.synth.mixture import Mixture
from isomorph.synth.slices import Slices
from isomorph.synth.strip import Strip
from isomorph.synth.window import Window
from isomorph.volume import Volume

STILL = Deform(rotation=0, scale=0, shear=0, velocity=(0, 0), mirror=0)
PLAIN = Mixture(random=0, tables=("T1",), weights=(1,), spread=(0, 0), surface=(1, 1), texture=(0, 0), black_air=1)
FINE = Slices(thick=0, blurred=0, noise=(0, 0), profile=(0.1, 0.1))
AXIAL = Slices(thick=1, orientation="axial", spacing=(5, 5), in_plane=(1, 1), noise=(0, 0), thickness=(4, 4))
WINDOW = Window(gain=(1, 1))
EXACT = Motion(error_rotation=0, error_translation=0)


def channel(slices=FINE, *more, **options):
    return Channel(contrast=PLAIN, corruptions=(*more, slices, WINDOW), **options)


def generator(*channels, **options):
    return Generator(deform=STILL, strip=Strip(stripped=0), channels=channels, **options)


def test_scans_come_first_then_their_reliability(head):
    sample = generator(channel(AXIAL), channel(FINE), reliability=True)(head, None, seed=1)
    assert sample.image.data.shape == (4, *head.shape)
    _, _, rough, fine = sample.image.data
    assert fine[8:-8, 8:-8, 8:-8].min() > 0.98
    on = rough[20, 20]
    assert on.sum().item() == pytest.approx(head.shape[2] / 5, abs=1.01)
    assert torch.equal(rough, on.expand_as(rough))


def test_the_first_channel_never_moves_and_the_others_do(head):
    draws = generator(channel(), channel(), channel())(head, None, seed=1).recipe["channels"]
    assert draws[0]["motion"] is None
    assert draws[1]["motion"]["rotation"] != draws[2]["motion"]["rotation"]


def test_motion_undone_without_error_gives_the_same_scan(head):
    """Painted without texture, sampled finely: a channel that moved by degrees and cm equals the one that did not."""
    still, moved = generator(channel(), channel(motion=EXACT))(head, None, seed=3).image.data

    def difference(axis, shift):
        return (still - moved.roll(shift, axis))[5:-5, 5:-5, 5:-5].abs().mean().item()

    here = difference(0, 0)
    assert here < 0.06  # edges are painted in two grids
    for axis in range(3):
        before, after = difference(axis, -1), difference(axis, 1)
        assert min(before, after) > 1.5 * here
        assert before == pytest.approx(after, rel=0.1)  # not the least shift


def test_what_registration_leaves_is_what_was_drawn(head):
    sample = generator(channel(), channel(motion=EXACT))(head, None, seed=3)
    recipe = json.loads(json.dumps(sample.recipe))
    recipe["channels"][1]["motion"]["error_translation"] = [0.0, 0.0, 2.0]
    exact, wrong = sample.image.data[1], generator(channel(), channel()).replay(head, None, recipe).image.data[1]
    inner = (slice(6, -6),) * 3
    assert (wrong[:, :, :-2][inner] - exact[:, :, 2:][inner]).abs().mean() < 0.01
    assert (wrong[inner] - exact[inner]).abs().mean() > 0.04


def test_slices_of_a_head_that_moved_lie_askew_in_the_reference(head):
    recipe = generator(channel(), channel(AXIAL, motion=EXACT), reliability=True)(head, None, seed=5).recipe
    recipe["channels"][1]["motion"] |= {"rotation": [9.0, 0.0, 0.0], "translation": [0.0] * 3}
    sample = generator(channel(), channel(AXIAL), reliability=True).replay(head, None, recipe)
    askew = sample.image.data[3]
    assert (askew - askew[:, :1]).abs().max() > 0.5  # varies along the axis that was tilted
    assert (askew - askew[:1]).abs().max() < 1e-3  # and not along the axis of rotation


def test_replay_is_exact(head):
    whole = Generator(channels=(Channel(), Channel(), Channel()), reliability=True, dropout=0.5)
    for seed in range(3):
        first = whole(head, None, seed)
        again = whole.replay(head, None, json.loads(json.dumps(first.recipe)))
        assert torch.equal(first.image.data, again.image.data)
        assert torch.equal(first.target.data, again.target.data)


def test_every_number_of_the_other_channels_varies(head):
    whole = Generator(channels=(Channel(), Channel()), dropout=0.5, deform=Deform(size=(8, 8, 8)))
    draws = [whole(head, None, seed).recipe for seed in range(24)]

    def leaves(table, path=()):
        for key, value in table.items() if isinstance(table, dict) else enumerate(table):
            if isinstance(value, dict | list):
                yield from leaves(value, (*path, key))
            else:
                yield (*path, key), value

    seen = {}
    for draw in draws:
        for path, value in leaves(draw["channels"][1]):
            seen.setdefault(path, set()).add(value)
    assert len({str(draw["kept"]) for draw in draws}) == 3
    assert [path for path, values in seen.items() if len(values) == 1] == [("contrast", "stds", "air")]


def test_dropout_keeps_at_least_one_channel_and_silences_the_others(head):
    whole = generator(channel(), channel(), channel(), reliability=True, dropout=1.0)
    kept = set()
    for seed in range(12):
        sample = whole(head, None, seed)
        there = sample.recipe["kept"]
        kept.add(tuple(there))
        scans, maps = sample.image.data[:3], sample.image.data[3:]
        for k in range(3):
            assert bool(scans[k].any()) == bool(maps[k].any()) == there[k]
    assert (False, False, False) not in kept
    assert len(kept) > 3


def test_the_reference_stays_where_it_leads(head):
    whole = generator(channel(), channel(), channel(), dropout=1.0, leads=True)
    kept = {tuple(whole(head, None, seed).recipe["kept"]) for seed in range(24)}
    assert kept == {(True, a, b) for a in (False, True) for b in (False, True)}


def test_super_resolution_has_the_channel_before_it_was_sliced_as_its_target(head):
    sample = generator(channel(AXIAL, Bias(), Gamma()), target=0)(head, None, seed=2)
    image, target = sample.image.data[0], sample.target.data[0]
    draw = sample.recipe["channels"][0]
    clean = PLAIN.effect(sample.labels, **draw["contrast"])
    for step, numbers in zip((Bias(), Gamma()), draw["corruptions"], strict=False):
        clean = step.effect(clean, **numbers)
    factor = target[clean.data[0] > 0.1] / clean.data[0][clean.data[0] > 0.1]
    dim = target[clean.data[0] > 0.1] < 1  # above that brightness is compressed
    assert factor[dim].std() < 1e-4  # the same image, in the window of the scan
    # The scan is the target, averaged over slices: the same brightness wherever nothing changes through-plane.
    assert image.mean().item() == pytest.approx(target.mean().item(), rel=0.03)


def test_what_stands_behind_the_slices_is_not_in_a_clean_target(head):
    """The order of a recipe decides: what comes before the slices stays, what comes behind them is a fault."""
    bias = Bias(strength=(0.6, 0.6))
    for steps, stays in (((bias, AXIAL, WINDOW), True), ((AXIAL, bias, WINDOW), False)):
        whole = generator(Channel(contrast=PLAIN, corruptions=steps), target=0)
        sample = whole(head, None, seed=2)
        draw = sample.recipe["channels"][0]
        clean = PLAIN.effect(sample.labels, **draw["contrast"])
        if stays:
            clean = bias.effect(clean, **draw["corruptions"][0])
        seen = clean.data > 0.1
        factor = (sample.target.data / clean.data)[seen & (sample.target.data < 1)]
        assert factor.std() < 1e-4 * factor.mean()
    nothing = generator(Channel(contrast=PLAIN, corruptions=(bias, WINDOW)), target=0)(head, None, seed=2)
    clean = PLAIN.effect(nothing.labels, **nothing.recipe["channels"][0]["contrast"]).data
    factor = (nothing.target.data / clean)[(clean > 0.1) & (nothing.target.data < 1)]
    assert factor.std() < 1e-4 * factor.mean()  # a scan without slices: all that is done to it is a fault


def test_any_channel_can_be_the_target(head):
    whole = generator(channel(), channel(AXIAL), target=1)
    sample = whole(head, None, seed=2)
    assert (sample.target.data[0] - sample.image.data[0])[4:-4, 4:-4, 4:-4].abs().mean() < 0.05
    with pytest.raises(ValueError, match="target is channel 2, and there are 2"):
        generator(channel(), channel(), target=2)


def test_a_target_of_another_contrast_is_painted_even_where_a_real_t1_is_there(head):
    real = head.with_data(torch.full_like(head.data, 0.5))
    assert generator(channel(), target="T1")(head, real, seed=1).target.data.max().item() == pytest.approx(0.5)
    assert generator(channel(), target="T2")(head, real, seed=1).target.data.max() > 0.9
    with pytest.raises(ValueError, match="no contrast called 'T7'"):
        generator(channel(), target="T7")


def test_a_scan_is_interpolated_as_prediction_interpolates_it(head):
    """One function puts a scan onto the grid, in training and in use."""
    sample = generator(channel(AXIAL))(head, None, seed=4)
    draw = sample.recipe["channels"][0]
    scan = AXIAL.effect(PLAIN.effect(sample.labels, **draw["contrast"]), **draw["corruptions"][0])
    there = resample(scan, head.shape, sample.image.affine).data
    seen = there > 0
    expected = WINDOW.effect(
        sample.image.with_data(resample(scan, head.shape, sample.image.affine, fill=None).data), gain=1.0
    )
    torch.testing.assert_close(sample.image.data, expected.data)
    assert seen.float().mean() > 0.3


def shown(labels, real):
    """A T1 of a head with a real T1: painted, skin would be 0.9 and white matter 1, in units of the scanner."""
    whole = generator(Channel(contrast=PLAIN, corruptions=()), own=1.0)
    draws = whole.draw(Random(1))
    means = draws["channels"][0]["contrast"]["means"]
    brightness = {k: 40 * v for k, v in means.items()} | {"skin": 36 * means["white"]}
    draws["channels"][0]["contrast"] |= {"means": brightness, "stds": dict.fromkeys(means, 0.0)}
    return whole.replay(labels, real, draws)


def t1_of(labels):
    """Of what is not air, of no brightness that would be painted."""
    noise = torch.rand(labels.data.shape, generator=torch.Generator().manual_seed(0))
    return labels.with_data((0.3 + 0.4 * noise) * (labels.data > 0))


def test_a_real_brain_is_shown_in_a_head_of_the_contrast_that_was_drawn(head):
    """Which the network does not know already: the target's is painted in its own."""
    brain = brain_mask(head.data)
    thick = torch.where(head.data > 0, 511, 0)  # edges are blurred
    labels = head.with_data(torch.where(brain, CLUSTER + 12, thick))
    sample = shown(labels, t1_of(labels))
    other = (sample.labels.data != 511).float()
    skin = torch.nn.functional.max_pool3d(other, 5, stride=1, padding=2) == 0
    assert skin.sum() > 100
    assert (sample.image.data[skin] - 0.9).abs().max() < 0.01
    inside = sample.labels.data >= CLUSTER
    assert torch.equal(inside, brain)
    torch.testing.assert_close(sample.image.data[inside], sample.target.data[inside])
    torch.testing.assert_close(sample.target.data, t1_of(labels).data)  # skin too


@pytest.mark.parametrize("stripped", [True, False])
def test_a_real_head_that_borrowed_nothing_is_shown_as_it_is(stripped, head):
    """A skull-stripped scan of levels of brightness, or a whole head whose structures are named."""
    levels = head.with_data(torch.where(brain_mask(head.data), CLUSTER + 12, 0))
    labels = levels if stripped else head
    sample = shown(labels, t1_of(labels))
    assert sample.image.data[sample.labels.data > 0].mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(sample.image.data, t1_of(labels).data)


def test_a_real_t1_that_is_ill_is_that_t1_outside_its_lesions(head):
    """Not painted: the target shows the very same brain, healed."""
    labels = head.with_data(torch.where(brain_mask(head.data), CLUSTER + 20, 0))
    whole = generator(
        Channel(contrast=PLAIN, corruptions=()),
        own=1.0,
        pathology=Pathology(sclerosis=1.0, sclerosis_load=(30.0, 30.0)),
    )
    draws = whole.draw(Random(1))
    means = draws["channels"][0]["contrast"]["means"]
    means = {k: 40 * v for k, v in means.items()} | {"lesion": 80.0 * means["white"]}
    draws["channels"][0]["contrast"] |= {"means": means, "stds": dict.fromkeys(means, 0.0)}
    sample = whole.replay(labels, t1_of(labels), draws)
    apart = (sample.image.data - sample.target.data).abs()
    ill = apart > 1e-4
    assert 0 < ill.float().mean() < 0.5
    assert sample.image.data[apart > 0.5].amax() == pytest.approx(2.0, abs=0.05)  # twice white matter
    torch.testing.assert_close(sample.target.data, t1_of(labels).data)


@pytest.mark.parametrize(("in_plane", "told"), [(0.7, 0.4), (1.0, 0.4), (1.6, 2 / 1.6**2 / 5), (2.0, 0.1)])
def test_at_2_mm_a_network_is_told_of_measured_voxels_what_prediction_tells_it(head, in_plane, told):
    """Slices of 5 mm: of voxels of 1.6 mm a share of 1 / 1.6 / 1.6 counts, also where the scan was made at 2 mm."""
    thick = Slices(thick=1, orientation="axial", spacing=(5, 5), in_plane=(in_plane, in_plane), noise=(0, 0))
    coarse = Generator(
        deform=replace(STILL, spacing=2.0, size=(64.0, 64.0, 80.0)), strip=Strip(stripped=0),
        channels=(channel(thick),), reliability=True,
    )  # fmt: skip
    sample = coarse(head, None, seed=2)
    assert sample.image.spacing == (2, 2, 2)
    scan = Volume(torch.rand(1, 120, 120, 20), np.diag([in_plane, in_plane, 5.0, 1.0]))
    predicted = pooled(with_reliability(Volume(torch.zeros(1, 64, 64, 80), np.eye(4)), scan).data[1:], 2)
    for measured in (sample.image.data[1:], predicted):
        assert measured[0, 4:-4, 4:-4, 5:-5].mean().item() == pytest.approx(told, rel=0.05)


def test_where_any_order_will_do_the_thinnest_scan_that_is_there_leads():
    """As prediction chooses it; it does not move, and the others keep their motion."""
    alike = Channel(corruptions=(Slices(),))
    led = Generator(channels=(alike,) * 3, leads=True, dropout=0.7)
    swaps = 0
    for number in range(40):
        recipe, before = led.draw(Random(number)), replace(led, leads=False).draw(Random(number))
        thick = [max(channel["corruptions"][0]["spacing"]) for channel in recipe["channels"]]
        assert thick[0] == min(mm for mm, there in zip(thick, recipe["kept"], strict=True) if there)
        motions = [channel["motion"] for channel in recipe["channels"]]
        assert motions[0] is None
        assert motions == [channel["motion"] for channel in before["channels"]]
        swaps += recipe["channels"] != before["channels"]
    assert 10 < swaps < 35
    named = replace(led, channels=(alike, alike, Channel(corruptions=(Slices(thick=1),))))
    assert named.draw(Random(1))["channels"] == replace(named, leads=False).draw(Random(1))["channels"]


def test_samples_that_the_grid_could_not_follow_reach_from_edge_to_edge(head):
    """Voxels of 1.9 mm on a grid of 2 mm, wherever the first one lies: the edges are measured, too."""
    fine = Channel(contrast=PLAIN, corruptions=(Slices(thick=0, blurred=1, isotropic=(1.9, 1.9), noise=(0, 0)), WINDOW))
    coarse = generator(fine, reliability=True)
    coarse = replace(coarse, deform=replace(STILL, spacing=2.0, size=(64.0, 64.0, 64.0)))
    for number in range(6):
        measured = coarse(head, None, seed=number).image.data[1]
        assert measured.min() > 0.05
