"""A real brain in a lent head: the brain stays as it is, and what is around it lies where it should."""

from random import Random

import numpy as np
import pytest
import torch
from phantoms import centred, world_of
from small import head

from isomorph.labels import CLUSTER, EXTRACEREBRAL, FLUID_OUTSIDE, brain_mask
from isomorph.synth import Generator
from isomorph.synth.deform import Deform
from isomorph.synth.strip import Strip
from isomorph.train import carry, whole
from isomorph.train.corpus import Head, levelled
from isomorph.train.warp import painted, painted_brain, warped
from isomorph.train.whole import BRAINSTEM, in_head, lends
from isomorph.volume import Volume

SHELLS = ((1.28, 511), (1.2, 515), (1.04, FLUID_OUTSIDE), (1.0, 3), (0.8, 2), (0.3, 4))  # outer radius, label
BONE, SKIN = 515, 511


def ball(world, centre, radius):
    return np.linalg.norm(world - np.array(centre, float), axis=-1) < radius


def person(size=1.0, place=(0.0, 0.0, 0.0), mm=2.5, shape=(80, 96, 84)):
    """A head of a size and in a place, mm: label map, and a mask of lesions, one in the brain, one in the skull."""
    affine = centred(shape, np.diag([mm] * 3))
    world = (world_of(shape, affine) - np.array(place)) / size
    radius = np.linalg.norm(world / np.array([62.0, 76.0, 58.0]), axis=-1)
    labels = np.zeros(shape, np.int16)
    for edge, number in SHELLS:
        labels[radius < edge] = number
    labels[ball(world, (-24, 30, 10), 13)] = 10  # no symmetry: in front on the left, behind on the right
    labels[ball(world, (30, -28, 14), 11)] = 49
    stem = (np.linalg.norm(world[..., :2], axis=-1) < 10) & (world[..., 2] < -35)
    labels[stem & (radius < 1.28)] = BRAINSTEM  # on through the neck
    ill = ball(world, (26, 22, 12), 12) * 4 + ball(world, (0, 0, 68), 9) * 1
    return Volume(torch.from_numpy(labels)[None], affine), Volume(torch.from_numpy(ill.astype(np.uint8))[None], affine)


def scanned(labels):
    """The same head as a skull-stripped T1, of a brightness of its own, cut off at the neck."""
    texture = torch.rand(labels.data.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    brain = brain_mask(labels.data)
    brain[..., :17] = False
    target = labels.with_data(((painted(labels).data + texture) * brain).half())
    levels = torch.where(brain, CLUSTER + (target.data.float() / 0.05).round().clamp(max=29), 0).to(torch.int16)
    return labels.with_data(levels), target


def dice(a, b):
    return (2 * (a & b).sum() / (a.sum() + b.sum())).item()


@pytest.fixture(scope="module")
def dressed():
    """Scan, the truth about its head, and what was made of it with the head of someone larger who lies elsewhere."""
    pytest.importorskip("ants")
    truth, ill = person()
    labels, target = scanned(truth)
    labels.data[0, 30:34, 40:44, 50:54] = 0  # a hole in the mask
    far = ball(world_of(labels.shape, labels.affine), (0, 76, 0), 20)
    labels.data[0][torch.from_numpy(far)] = 0  # and a piece missing, of the forehead
    target = target.with_data(target.data * (labels.data > 0))
    lent, lesions = person(1.1, (10, -8, 12), shape=(92, 108, 96))
    return labels, target, (truth, ill), in_head(labels, target, lent, lesions)


def test_the_real_brain_is_untouched(dressed):
    labels, target, _, made = dressed
    real = labels.data > 0
    assert torch.equal(made.labels.data[real], labels.data[real])
    assert torch.equal(made.target.data[real], target.data[real])
    assert made.labels.data.dtype == labels.data.dtype
    assert made.target.data.dtype == target.data.dtype
    np.testing.assert_array_equal(made.labels.affine, labels.affine)


def test_no_brain_but_the_real_one_is_left_and_the_gap_is_fluid(dressed):
    labels, _, (truth, _), made = dressed
    outside = made.labels.data[labels.data == 0]
    assert set(outside.unique().tolist()) == {0, BRAINSTEM, FLUID_OUTSIDE, SKIN, BONE}
    assert set(made.labels.data[0, 30:34, 40:44, 50:54].unique().tolist()) == {FLUID_OUTSIDE}
    missing = brain_mask(truth.data) & (labels.data == 0) & (truth.data != BRAINSTEM)
    missing[..., :20] = False  # of the neck
    assert (made.labels.data[missing] == FLUID_OUTSIDE).float().mean() > 0.8  # the skull gives way a little


def test_a_brain_that_fits_is_told_from_one_that_does_not(dressed, monkeypatch):
    """Without registration the head of the other lies 17 mm away."""
    labels, target, (truth, _), made = dressed
    assert made.fit > 0.9
    monkeypatch.setattr(whole, "warped", lambda _, to, maps: list(maps))
    assert in_head(labels, target, truth, None).fit > 0.9
    assert in_head(labels, target, truth.with_data(truth.data.roll((4, -3, 5), (1, 2, 3))), None).fit < 0.8


def test_the_brainstem_goes_on_below_the_cut(dressed):
    labels, _, (truth, _), made = dressed
    below = (slice(None),) * 3 + (slice(11, 16),)
    assert not labels.data[below].any()
    assert dice(made.labels.data[below] == BRAINSTEM, truth.data[below] == BRAINSTEM) > 0.7


def test_nowhere_does_the_brain_touch_bone_or_air(dressed):
    labels, _, _, made = dressed
    real = labels.data > 0
    for axis in (1, 2, 3):
        for way in (-1, 1):
            beside = made.labels.data.roll(way, axis)[real]
            assert not ((beside == BONE) | (beside == SKIN) | (beside == 0)).any()


def test_skull_and_skin_lie_where_those_of_this_head_would(dressed):
    _, _, (truth, _), made = dressed
    assert dice(made.labels.data > 0, truth.data > 0) > 0.97
    assert dice(made.labels.data == BONE, truth.data == BONE) > 0.8
    assert dice(made.labels.data == SKIN, truth.data == SKIN) > 0.6  # 5 mm, on a grid of 2.5


def test_around_the_brain_the_t1_is_painted(dressed):
    labels, _, _, made = dressed
    expected = painted(made.labels).data
    around = labels.data == 0
    assert torch.equal(made.target.data[around], expected.half()[around])
    bone, skin = (made.target.data[made.labels.data == number].float().mean() for number in (BONE, SKIN))
    assert skin > 2 * bone


def test_lesions_come_along_into_the_brain_and_not_into_the_skull(dressed):
    _, _, (_, ill), made = dressed
    assert made.lesions.data.dtype == torch.uint8
    assert set(made.lesions.data.unique().tolist()) == {0, 4}
    assert dice(made.lesions.data == 4, ill.data == 4) > 0.75
    assert (ill.data == 1).any()


def test_without_lesions_there_are_none(monkeypatch):
    monkeypatch.setattr(whole, "warped", lambda moving, fixed, passengers: list(passengers))
    truth, _ = person(mm=5, shape=(40, 48, 42))
    assert in_head(*scanned(truth), truth, None).lesions is None


def test_only_a_map_with_more_than_a_brain_lends():
    assert lends(head("a").labels)
    brain = head("a").labels
    assert not lends(brain.with_data(brain.data * brain_mask(brain.data)))
    assert not lends(brain.with_data(torch.where(brain.data == 511, FLUID_OUTSIDE, brain.data)))
    assert not lends(head("real", real=True).labels)


@pytest.mark.parametrize(("number", "enough"), [(511, True), (515, True), (506, False), (502, False), (512, False)])
def test_skin_or_bone_make_a_head_and_eyes_or_vessels_do_not(number, enough):
    labels = head("a").labels
    assert lends(labels.with_data(torch.where(labels.data == SKIN, number, labels.data))) is enough


def test_numbers_follow_the_brain_to_which_the_other_is_registered():
    """The same voxels, of another size and elsewhere: each number lands in its own voxels."""
    pytest.importorskip("ants")
    labels, ill = person(mm=3, shape=(52, 62, 52))
    brain, there = painted_brain(labels), labels.affine.copy()
    there[:3] *= 0.9
    there[:3, 3] += 9.0, -6.0, 12.0
    other = Volume(brain.data, there)
    numbers, masks = warped(brain, other, [labels, ill])
    for number in (2, 3, 10, 49):
        assert dice(numbers.data == number, labels.data == number) > 0.85, number
    assert set(masks.data.unique().tolist()) <= {0, 1, 4}
    assert dice(masks.data == 4, ill.data == 4) > 0.85
    np.testing.assert_array_equal(numbers.affine, there)


def test_a_template_is_registered_to_the_brain_of_a_dressed_scan_alone(monkeypatch, tmp_path):
    """Where the lender has no lesions to give: the template wears no head."""
    pytest.importorskip("ants")
    pytest.importorskip("nilearn")
    fixed = []
    monkeypatch.setattr(carry, "warped", lambda moving, to, passengers: fixed.append(to) or [to])
    monkeypatch.setattr(carry, "_mask", lambda path, template: torch.zeros(template.data.shape, dtype=torch.uint8))
    (tmp_path / "a.nii.gz").touch()
    bring = carry.carrier(tmp_path, report=lambda line: None)
    labels = head("a").labels
    bring("a", labels, painted(labels))
    bring("a", labels, None)
    for brain in fixed:
        assert (brain.data[~brain_mask(labels.data)] < 0.5).all()
        assert brain.data[labels.data == 2].min() > 0.8


def clothed():
    """Levels of brightness in the brain, skin and fluid around it, and a T1 of all that."""
    real, around = head("real", real=True), head("a").labels
    labels = torch.where(brain_mask(around.data), real.labels.data, around.data)
    target = torch.where(brain_mask(around.data), real.target.data, painted(around).data)
    return Head("real", around.with_data(labels), around.with_data(target), lender="a")


@pytest.mark.parametrize("fluid", [True, False])
def test_what_a_sample_has_lost_its_target_has_not(fluid):
    dressed = clothed()
    strip = Strip(stripped=1.0, perfect=1.0)
    generator = Generator(deform=Deform(size=(36, 36, 36)), strip=strip)
    draws = next(d for d in map(generator.draw, map(Random, range(99))) if d["strip"]["fluid"] is fluid)
    _, target, labels, _ = generator.replay(dressed.labels, dressed.target, draws)
    assert not torch.isin(labels.data, torch.tensor(sorted(EXTRACEREBRAL))).any()
    assert (labels.data == 0).any()
    assert not target.data[labels.data == 0].any()
    assert target.data[brain_mask(labels.data)].mean() > 0.3


def test_the_target_of_a_whole_head_keeps_its_skin():
    dressed = clothed()
    generator = Generator(deform=Deform(size=(40, 40, 40)), strip=Strip(stripped=0.0))
    _, target, labels, _ = generator(dressed.labels, dressed.target, seed=1)
    skin = labels.data == SKIN
    assert skin.any()
    assert target.data[skin].mean() > 0.2


def test_each_voxel_of_a_brain_has_a_level_and_no_other():
    """By which a dressed scan says of each voxel whether it is real."""
    x = torch.zeros(1, 30, 30, 30)
    x[:, 5:-5, 5:-5, 5:-5] = 100 + 40 * torch.rand(1, 20, 20, 20)
    assert (levelled("a", Volume(x, np.eye(4))).labels.data >= CLUSTER).sum() == 20**3
