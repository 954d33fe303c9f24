"""Disease: in the right place, of the announced size, soft, and never folding the brain."""

import json
import math
from random import Random

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from isomorph.labels import CLUSTER, LESION_TISSUES, TISSUES
from isomorph.synth import Channel, Generator, Motion
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.coordinates import positions
from isomorph.synth.deform import Deform, placement
from isomorph.synth.head import Head
from isomorph.synth.mixture import Mixture, paint
from isomorph.synth.pathology import Pathology, grow, pathology
from isomorph.synth.pathology.anatomy import Anatomy
from isomorph.synth.pathology.bleeding import haemorrhage, radius_of
from isomorph.synth.pathology.grow import KINDS
from isomorph.synth.pathology.move import Mass, displacement, moved
from isomorph.synth.pathology.resection import resection
from isomorph.synth.pathology.sclerosis import _ovoid
from isomorph.synth.pathology.shape import overlay
from isomorph.synth.pathology.stroke import FRESH, lacunes, stroke
from isomorph.synth.pathology.tumour import tumour
from isomorph.synth.slices import Slices
from isomorph.synth.strip import Strip
from isomorph.synth.window import Window
from isomorph.volume import Volume

SILENT = dict.fromkeys(TISSUES, 0.0)
ROUND = {"stretch": [1.0, 1.0, 1.0], "rough": 0.0, "seed": 1}


def maps(kind, x, centre=(24.0, 24.0, 24.0), **said):
    out = torch.zeros(len(LESION_TISSUES), *x.shape)
    for patch in kind(Anatomy(x), centre, **said):
        overlay(out, patch)
    return dict(zip(LESION_TISSUES, out, strict=True))


def block(label=2.0, n=48, mm=1.0):
    return Volume(torch.full((1, n, n, n), label), np.diag([mm, mm, mm, 1.0]))


@pytest.fixture
def brain():
    """White matter with a slit of ventricle on each side, cortex around, fluid, bone; clusters if asked."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(56.0) - 27.5] * 3, indexing="ij"))
    radius = grid.norm(dim=0)
    labels = torch.zeros(56, 56, 56)
    for limit, left, right in ((27, 515, 515), (25, 24, 24), (23, 3, 42), (19, 2, 41)):
        labels[radius < limit] = right
        labels[(radius < limit) & (grid[0] < 0)] = left
    slit = ((grid[0].abs() - 5) / 2).square() + (grid[1] / 9).square() + (grid[2] / 5).square() < 1
    labels[slit & (grid[0] < 0)], labels[slit & (grid[0] > 0)] = 4, 43
    return Volume(labels[None], np.eye(4))


@pytest.fixture
def clusters(brain):
    """The same without a name to anything, and without a skull."""
    table = torch.zeros(600)
    for number, level in ((2, 1.0), (41, 1.0), (3, 0.6), (42, 0.6), (4, 0.25), (43, 0.25)):
        table[number] = CLUSTER + round(level / 0.05)
    return brain.with_data(table[brain.data.long()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", [True, False])
def test_every_kind_grows_in_brain_and_nowhere_else(kind, named, brain, clusters):
    x, grown, draws = (
        brain if named else clusters,
        0,
        Pathology(**{kind: 1.0}, tumour_size=(8, 16), stroke_size=(10, 20)),
    )
    for seed in range(5):
        draw = draws.draw(Random(seed))
        draw = json.loads(json.dumps(draw))
        ill, field = grow(x, **draw)
        y = ill.data
        assert y.shape == (len(LESION_TISSUES), *x.shape)
        assert y.min() >= 0
        assert y.sum(0).max() <= 1 + 1e-5
        after = moved(x, field) if field is not None else x
        outside = (after.data[0] == 0) | (after.data[0] == 515)
        far = torch.nn.functional.avg_pool3d(outside.float()[None], 5, 1, 2)[0] > 0.999
        assert y[:, far].max() < 1e-4
        grown += (y.sum(0) > 0.5).sum().item()
    assert grown > 100


def test_healthy_by_default(brain):
    assert all(Pathology().draw(Random(seed)) == {"grown": [], "carried": None} for seed in range(20))
    assert not pathology(brain, grown=[], carried=None).data.any()


def test_shares_are_shares():
    draws = [Pathology(tumour=0.3, sclerosis=0.1).draw(Random(seed))["grown"] for seed in range(1500)]
    kinds = [lesion["kind"] for grown in draws for lesion in grown]
    assert kinds.count("tumour") / 1500 == pytest.approx(0.3, abs=0.04)
    assert kinds.count("sclerosis") / 1500 == pytest.approx(0.1, abs=0.03)
    assert len(kinds) == kinds.count("tumour") + kinds.count("sclerosis")


@pytest.mark.parametrize("mm", [1.0, 1.5])
def test_a_haemorrhage_has_its_volume(mm):
    n = round(48 / mm)
    there = maps(haemorrhage, block(n=n, mm=mm), (n / 2, n / 2, n / 2), volume=10.0, oedema=4.0, fade=1.0, **ROUND)
    assert there["blood"].sum().item() * mm**3 / 1000 == pytest.approx(10.0, rel=0.05)
    shell = 4 / 3 * math.pi * ((radius_of(10.0) + 4) ** 3 - radius_of(10.0) ** 3) / 1000
    assert there["oedema"].sum().item() * mm**3 / 1000 == pytest.approx(shell, rel=0.1)


def test_a_tumour_is_a_core_in_a_rim_in_oedema_that_fades():
    there = maps(tumour, block(), size=20.0, rim=3.0, oedema=5.0, fade=3.0, **ROUND)
    line = {tissue: share[24, 24, 24:] for tissue, share in there.items()}  # along a radius, 1 mm a voxel
    assert line["necrosis"][:4].min() > 0.99
    assert line["rim"][8] > 0.9
    assert there["necrosis"].sum() + there["rim"].sum() == pytest.approx(4 / 3 * math.pi * 10**3, rel=0.1)
    fading = line["oedema"][12:]
    assert fading[0] > 0.3
    assert fading[-1] < 0.05
    assert fading.diff().abs().max() < 0.25  # continuous: no border
    solid = maps(tumour, block(), size=20.0, rim=0.0, oedema=0.0, fade=8.0, **ROUND)["lesion"][24, 24, 24:]
    assert solid[10].item() == pytest.approx(0.5, abs=0.03)  # half way at the radius
    assert ((solid > 0.02) & (solid < 0.98)).sum() >= 6


def ball(diameter):
    return math.pi / 6 * diameter**3


def test_a_stroke_is_swollen_then_eaten_up_from_its_middle():
    said = {"size": 20.0, "fade": 1.0, **ROUND}
    fresh = maps(stroke, block(), **said, age=0.1)
    assert fresh["oedema"].sum().item() == pytest.approx(FRESH * ball(20), rel=0.05)
    assert fresh["oedema"].max().item() == pytest.approx(FRESH)
    assert not fresh["cavity"].any()
    for age in (0.5, 1.0):
        old = maps(stroke, block(), **said, age=age)
        assert (old["cavity"] + old["lesion"]).sum().item() == pytest.approx(ball(20), rel=0.05)
        assert old["cavity"].sum().item() == pytest.approx(ball(20 * (age - 0.05)), rel=0.25)
        assert old["cavity"][24, 24, 24] > 0.99
        assert (old["lesion"][24, 24, 33] > 0.4) == (age < 1)  # the rim of what is not yet fluid


@pytest.mark.parametrize("age", [0.0, 0.7])
def test_lacunes_are_as_many_and_as_large_as_was_said(age):
    """In a large block none of a few small ones lies on another or at the edge, for this seed."""
    there = maps(lacunes, block(n=96), count=4, size=[8.0, 8.0], age=age, seed=11)
    whole = there["lesion"] + there["cavity"]
    assert whole.sum().item() == pytest.approx(4 * ball(8), rel=0.15)
    assert there["cavity"].max().item() == pytest.approx(age, abs=0.02)


def test_a_resection_is_a_ball_of_fluid_with_a_gliotic_wall():
    there = maps(resection, block(), size=20.0, gliosis=3.0, **ROUND)
    assert there["cavity"].sum().item() == pytest.approx(ball(20), rel=0.05)
    line = {tissue: share[24, 24, 24:] for tissue, share in there.items()}
    assert line["cavity"][:8].min() > 0.99
    assert line["cavity"][10].item() == pytest.approx(0.5, abs=0.05)
    assert line["lesion"][11] > 0.4
    assert line["lesion"][15:].max() < 0.02  # 1.5 of a wall, 3 beyond it: 14.5 mm
    x = block()
    x.data[0, :, :, 30:] = 0  # beyond the brain there is nothing to take out
    assert not maps(resection, x, size=20.0, gliosis=3.0, **ROUND)["cavity"][:, :, 33:].any()


def test_oedema_follows_white_matter():
    x = block()
    x.data[0, :24] = 3  # cortex on one side
    there = maps(tumour, x, size=8.0, rim=1.5, oedema=8.0, fade=2.0, **ROUND)["oedema"]
    assert there[26:].sum() > 3 * there[:22].sum()


def test_rough_borders_are_irregular_and_soft():
    said = {"size": 24.0, "rim": 0.0, "oedema": 0.0, "fade": 4.0, **ROUND}
    smooth, rough = (maps(tumour, block(), **said | {"rough": r})["lesion"] for r in (0.0, 0.2))
    assert ((smooth - rough).abs() > 0.3).sum() > 500
    assert rough.sum().item() == pytest.approx(smooth.sum().item(), rel=0.5)
    assert max(rough.diff(dim=axis).abs().max() for axis in range(3)) < 0.8  # a sharp border would be 1


@pytest.mark.parametrize(("load", "size"), [(2.0, [3.0, 6.0]), (40.0, [3.0, 6.0]), (300.0, [3.0, 6.0])])
def test_sclerosis_has_its_load_in_white_matter(load, size, brain):
    lesion = {"kind": "sclerosis", "load": load, "size": size, "fade": 1.0, "hole": 0.0, "seed": 3}
    y = pathology(brain, grown=[lesion], carried=None).data.sum(0)
    white = (brain.data[0] == 2) | (brain.data[0] == 41)
    expected = load * white.sum().item() / 1000 / 500  # this brain has but a part of the white matter of a brain
    assert 0.2 * expected < y.sum().item() / 1000 < 2 * expected + 0.2
    assert y[white].sum() > 0.85 * y.sum()


def test_no_ovoid_is_cut_by_its_box():
    x = block()
    warp, axis = torch.full(x.shape, 2.0), torch.tensor([1.0, 0.0, 0.0])
    patch = _ovoid(Anatomy(x), (24, 24, 24), axis, 4.0, 2.5, warp, 1.0, 0.5)
    assert all(side.start > 0 and side.stop < 48 for side in patch.box)
    for share in patch.shares.values():
        assert share.any()
        assert not share[[0, -1]].any()


def test_a_stroke_keeps_to_its_side(brain):
    for seed in range(4):
        draw = Pathology(stroke=1.0, stroke_size=(20, 30)).draw(Random(seed))
        draw["grown"][0]["push"] = 0.0
        y = pathology(brain, **draw).data.sum(0)
        sides = y[:28].sum(), y[28:].sum()
        assert min(sides) < 0.08 * max(sides)  # a soft border


def jacobian(field, shape, spacing=1.0):
    dense = interpolate(field, shape, mode="trilinear", align_corners=True)[0].double()
    n, m, k = (size - 1 for size in shape)
    gradient = torch.stack([dense.diff(dim=axis + 1)[:, :n, :m, :k] / spacing for axis in range(3)], 1)
    return torch.linalg.det(gradient.movedim((0, 1), (-2, -1)) + torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("size", [12.0, 30.0, 50.0])
@pytest.mark.parametrize("part", [-0.2, 0.1, 0.5])
def test_mass_effect_never_folds(size, part, brain):
    for centre in ((14.0, 28.0, 28.0), (28.0, 45.0, 30.0)):
        field = displacement(Anatomy(brain), [Mass(centre, size / 2, part * size / 2)])
        assert jacobian(field, brain.shape).min() > 0.05
        edge = interpolate(field, brain.shape, mode="trilinear", align_corners=True)[0].norm(dim=0)
        assert edge[brain.data[0] == 515].max() < 1.5  # the skull does not yield


def test_two_masses_never_fold(brain):
    masses = [Mass((20.0, 28.0, 28.0), 8.0, 4.0), Mass((34.0, 28.0, 28.0), 8.0, 4.0)]
    assert jacobian(displacement(Anatomy(brain), masses), brain.shape).min() > 0.05


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("kind", ["tumour", "haemorrhage", "stroke"])
def test_all_that_moves_a_head_together_never_folds_it(kind, mirror, brain):
    """The strongest shape on the densest nodes, tilted, scaled and sheared, and something that takes room in it."""
    prior, yielded = Deform(), 0.0
    for seed in range(3):
        rng = Random(seed)
        strongest = {"velocity": prior.velocity[1], "nodes": prior.nodes[0], "mirror": mirror}
        recipe = {"deform": prior.draw(rng) | strongest, "strip": Strip(stripped=0.0).draw(rng)}
        ill = Pathology(**{kind: 1.0}, tumour_size=(15, 30), tumour_push=(7.0, 8.0), stroke_size=(20, 30)).draw(rng)
        healthy = Head(brain, None, recipe | {"pathology": {"grown": [], "carried": None}}).source
        source = Head(brain, None, recipe | {"pathology": ill}).source
        yielded = max(yielded, (source - healthy).norm(dim=0).max().item())
        for x in (healthy, source):
            n = [side - 1 for side in x.shape[1:]]
            gradient = torch.stack([x.diff(dim=k)[:, : n[0], : n[1], : n[2]] for k in (1, 2, 3)])
            size = torch.linalg.det(gradient.movedim((0, 1), (-2, -1)))
            assert (-size if mirror else size).min() > 0
    assert yielded > 0.5  # mm


def test_tissue_yields_by_what_was_said():
    x = block(n=96)
    field = displacement(Anatomy(x), [Mass((48.0, 48.0, 48.0), 16.0, 5.0)])
    dense = interpolate(field, x.shape, mode="trilinear", align_corners=True)[0]
    expected = 16 * (1 - math.exp(-5 / 16))
    assert -dense[0, 64, 48, 48].item() == pytest.approx(expected, rel=0.15)  # came from nearer to the middle
    assert dense[0, 32, 48, 48].item() == pytest.approx(expected, rel=0.15)
    assert dense[:, 48, 48, 48].abs().max() < 0.3


def test_blending_is_linear_and_leaves_healthy_voxels_alone(brain):
    lesions = torch.zeros(len(LESION_TISSUES), *brain.shape)
    lesions[LESION_TISSUES.index("cavity"), :20] = 0.25
    lesions[LESION_TISSUES.index("oedema"), :20] = 0.5
    table = CONTRAST_TABLES["T2"]
    x = brain.with_data(torch.full_like(brain.data, 2.0))
    y = paint(x, means=table, stds=SILENT, seed=0, lesions=x.with_data(lesions)).data[0]
    assert y[5, 5, 5].item() == pytest.approx(0.25 * table["white"] + 0.25 * table["cavity"] + 0.5 * table["oedema"])
    textured = {"means": table, "stds": SILENT | {"white": 0.1}, "seed": 0}
    healthy, ill = paint(x, **textured).data[0], paint(x, **textured, lesions=x.with_data(lesions)).data[0]
    assert torch.equal(healthy[25:], ill[25:])
    assert not torch.equal(healthy[:18], ill[:18])


def test_every_contrast_knows_every_tissue():
    assert set(LESION_TISSUES) <= set(TISSUES)
    assert all(set(TISSUES) == set(table) for table in CONTRAST_TABLES.values())


def test_masks_of_patients_are_one_bit_each(brain):
    masks = torch.zeros(brain.data.shape, dtype=torch.uint8)
    masks[:, 36:40, 24:30, 36:40] |= 1 << 3
    masks[:, 16:20, 24:30, 36:40] |= 1 << 7
    y = pathology(brain, grown=[], carried=3, masks=brain.with_data(masks)).data[LESION_TISSUES.index("lesion")]
    assert y[37, 26, 37] > 0.8
    assert y[:28].sum() == 0
    assert y.sum().item() == pytest.approx(96, rel=0.05)
    assert not pathology(brain, grown=[], carried=0, masks=brain.with_data(masks)).data.any()


def test_the_image_is_ill_and_the_target_healthy(brain):
    ill = Generator(pathology=Pathology(haemorrhage=1.0, haemorrhage_volume=(2.0, 3.0)))
    painted = ill(brain, None, seed=2)
    again = ill.replay(brain, None, json.loads(json.dumps(painted.recipe)))
    assert torch.equal(painted.image.data, again.image.data)
    healed = ill.replay(brain, None, painted.recipe | {"pathology": {"grown": [], "carried": None}})
    assert not torch.equal(painted.image.data, healed.image.data)
    white = (painted.labels.data == 2) | (painted.labels.data == 41)
    assert painted.target.data[white].min() > 0.3  # no blood, partial volume alone
    kept = Generator(pathology=ill.pathology, lesions_in_target=True).replay(brain, None, painted.recipe)
    assert not torch.equal(kept.target.data, painted.target.data)


def test_a_switch_names_lesions_in_the_labels(brain):
    """What is more than half diseased, of whatever tissue; the rest, and a healthy head, as without it."""
    ill = Generator(pathology=Pathology(haemorrhage=1.0, haemorrhage_volume=(2.0, 3.0)), lesions_in_labels=True)
    named = ill(brain, None, seed=2)
    plain = Generator(pathology=ill.pathology).replay(brain, None, named.recipe)
    sick = Head(brain, None, named.recipe).reference.lesions.data.sum(0) > 0.5  # blood and oedema together
    assert 1000 < sick.sum() < 8000  # 2 to 3 mL, and a seam
    assert torch.equal(named.labels.data[0] == 77, sick)
    assert torch.equal(named.labels.data[0][~sick], plain.labels.data[0][~sick])
    assert not (plain.labels.data == 77).any()
    assert torch.equal(named.image.data, plain.image.data)
    healthy = named.recipe | {"pathology": {"grown": [], "carried": None}}
    assert not (ill.replay(brain, None, healthy).labels.data == 77).any()


def test_a_switch_shows_lesions_in_a_real_target_too(brain):
    """As bright as they are in a T1, in their share of each voxel; what is healthy stays what it was."""
    real = brain.with_data(torch.where(brain.data > 0, 0.8, 0.0))
    ill = Generator(pathology=Pathology(haemorrhage=1.0, haemorrhage_volume=(2.0, 3.0)))
    healed = ill(brain, real, seed=2)
    shown = Generator(pathology=ill.pathology, lesions_in_target=True).replay(brain, real, healed.recipe)
    assert torch.equal(shown.image.data, healed.image.data)
    lesions = Head(brain, None, healed.recipe).reference.lesions.data
    sick = lesions.sum(0)
    assert (sick > 0.99).sum() > 100
    assert torch.equal(shown.target.data[0][sick == 0], healed.target.data[0][sick == 0])
    table = torch.tensor([CONTRAST_TABLES["T1"][tissue] for tissue in LESION_TISSUES])
    expected = healed.target.data[0] * (1 - sick) + torch.einsum("l,lijk->ijk", table, lesions)
    torch.testing.assert_close(shown.target.data[0], expected)


def test_a_bite_is_missing_at_the_same_place_in_each_scan(brain):
    """Of a head that moved between the scans by degrees and mm: registered, both lack the same ball."""
    plain = Mixture(random=0, tables=("T1",), weights=(1,), spread=(0, 0), surface=(1, 1), texture=(0, 0), black_air=1)
    fine = Slices(thick=0, blurred=0, noise=(0, 0), profile=(0.1, 0.1))
    channel = Channel(contrast=plain, corruptions=(fine, Window(gain=(1, 1))), motion=Motion(translation=5.0))
    generator = Generator(channels=(channel, channel))
    recipe = generator.draw(Random(1))
    recipe["strip"] |= {"margin": 0.0, "fluid": False, "bites": []}
    recipe["channels"][1]["motion"] |= {"error_rotation": [0.0] * 3, "error_translation": [0.0] * 3}
    assert max(map(abs, recipe["channels"][1]["motion"]["rotation"])) > 3
    whole = generator.replay(brain, None, recipe).image.data
    bitten = generator.replay(brain, None, recipe | {"strip": recipe["strip"] | {"bites": [[0.3, 7.0]]}}).image.data
    one, other = (whole - bitten).abs() > 0.2
    assert one.sum() > 100
    overlap = 2 * (one & other).sum() / (one.sum() + other.sum())
    assert overlap > 0.85


def test_a_bite_is_missing_from_the_image_and_not_from_the_target(brain):
    generator = Generator()
    recipe = generator.draw(Random(0))
    recipe["strip"] |= {"margin": 0.0, "bites": [[0.5, 8.0]]}
    bitten = generator.replay(brain, None, recipe)
    whole = generator.replay(brain, None, recipe | {"strip": recipe["strip"] | {"bites": []}})
    assert torch.equal(bitten.target.data, whole.target.data)
    assert not torch.equal(bitten.image.data, whole.image.data)


def test_a_push_joins_the_deformation_of_the_head(brain):
    """One composed lattice gives what two displacements one after the other give."""
    draw = Deform(mirror=0.0).draw(Random(4))
    place = placement(brain, **draw)
    push = displacement(Anatomy(brain), [Mass((20.0, 30.0, 28.0), 12.0, 5.0)])
    there = (
        positions(place.shape, place.affine) + interpolate(push, place.shape, mode="trilinear", align_corners=True)[0]
    )
    error = (place.pushed(push).source() - place.source(there)).norm(dim=0)
    assert error.max() < 0.3  # mm
    assert (place.pushed(push).source() - place.source()).norm(dim=0).max() > 3
