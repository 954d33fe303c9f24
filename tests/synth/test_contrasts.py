"""Contrasts with known answers: signal equations, priors, Hounsfield units."""

import json
import math
from dataclasses import replace
from random import Random
from statistics import fmean, stdev

import numpy as np
import pytest
import torch

from isomorph.intensity import HOUNSFIELD, soft_tissue
from isomorph.labels import CLUSTER, LABELS, LESION_TISSUES, TISSUES
from isomorph.synth import CONTRASTS, Deform, Generator
from isomorph.synth.channel import Channel
from isomorph.synth.contrasts import CONTRAST_TABLES, is_t1
from isomorph.synth.furniture import furniture
from isomorph.synth.gantry import Gantry, ct_slices
from isomorph.synth.hounsfield import AIR, FAT, HOUNSFIELD_TABLE, Hounsfield, hounsfield
from isomorph.synth.measured import Measured, sampled
from isomorph.synth.mixture import ENHANCED, SURFACE, Mixture
from isomorph.synth.pathology import Pathology
from isomorph.synth.physics import BRAIN, PROTOCOLS, LowField, Physics, acquire
from isomorph.synth.randomised import Randomised
from isomorph.synth.relaxation import TESLA, Times, times
from isomorph.synth.signal import inversion, mprage, null, phase_sensitive, spin_echo, spoiled_echo
from isomorph.synth.strip import Strip
from isomorph.synth.tables import NAMES, prior_table
from isomorph.synth.window import Window
from isomorph.volume import Volume

LONG = 1e9  # ms
WATER = Times(pd=1.0, t1=1000.0, t2=100.0, t2_star=50.0)
PLAIN = {"calcium": {}, "falx": 40.0, "holder": None, "table": None, "seed": 1}
SILENT = dict.fromkeys(TISSUES, 0.0)
HU = {tissue: float(mean) for tissue, (mean, _) in HOUNSFIELD_TABLE.items()}


def block(label: int, n: int = 24) -> Volume:
    return Volume(torch.full((1, n, n, n), label), np.eye(4))


# Signal equations


def test_inverted_tissue_vanishes_at_ln2_t1():
    assert null(WATER.t1, LONG) == pytest.approx(math.log(2) * WATER.t1)
    assert inversion(WATER, tr=LONG, te=0, ti=math.log(2) * WATER.t1) == pytest.approx(0, abs=1e-9)
    assert inversion(WATER, tr=3000, te=0, ti=null(WATER.t1, 3000)) == pytest.approx(0, abs=1e-9)


def test_before_the_null_magnitude_is_bright_and_phase_sensitive_is_black():
    early = {"tr": LONG, "te": 0, "ti": 0.2 * WATER.t1}
    assert inversion(WATER, **early) == pytest.approx(2 * math.exp(-0.2) - 1)
    assert phase_sensitive(WATER, **early) == 0
    late = early | {"ti": 2 * WATER.t1}
    assert inversion(WATER, **late) == phase_sensitive(WATER, **late) > 0


def test_spin_echo_saturates_and_decays():
    assert spin_echo(WATER, tr=LONG, te=0) == 1
    assert spin_echo(WATER, tr=math.log(2) * WATER.t1, te=0) == pytest.approx(0.5)
    assert spin_echo(WATER, tr=LONG, te=WATER.t2) == pytest.approx(1 / math.e)


def test_the_spoiled_echo_is_brightest_at_the_ernst_angle():
    ernst = math.degrees(math.acos(math.exp(-20 / WATER.t1)))
    at = [spoiled_echo(WATER, tr=20, te=0, flip=ernst + d) for d in (-1, 0, 1)]
    assert at[1] == max(at)
    assert spoiled_echo(WATER, tr=LONG, te=WATER.t2_star, flip=90) == pytest.approx(1 / math.e)


def test_mprage_without_pulses_is_inversion_recovery():
    got = mprage(WATER, tr=2300, te=0, ti=900, flip=1e-4, echoes=10, spacing=5) / math.sin(math.radians(1e-4))
    ir = 1 - 2 * math.exp(-0.9) / (1 + math.exp(-2.3))
    assert got == pytest.approx(ir, rel=1e-6)


def test_mprage_against_bloch_by_hand():
    """Play inversions and pulses one after the other until nothing changes."""
    tr, ti, flip, echoes, spacing = 2300.0, 900.0, 9.0, 160, 7.0
    m, seen = 1.0, 0.0

    def relax(m, t):
        return 1 - (1 - m) * math.exp(-t / WATER.t1)

    for _ in range(20):
        m = relax(-m, ti - echoes * spacing / 2)
        for k in range(echoes):
            seen = m if k == echoes // 2 else seen
            m = relax(m * math.cos(math.radians(flip)), spacing)
        m = relax(m, tr - ti - echoes * spacing / 2)
    want = abs(seen) * math.sin(math.radians(flip))
    got = mprage(WATER, tr=tr, te=0, ti=ti, flip=flip, echoes=echoes, spacing=spacing)
    assert got == pytest.approx(want, rel=1e-3)


# Contrast from relaxation


def mid(protocol: str, tesla: float) -> dict[str, float]:
    """Brightness at the middle of all ranges, white matter = 1."""
    signal, ranges = PROTOCOLS[protocol]
    timing = {name: fmean(bounds) for name, bounds in ranges.items()}
    if "null" in timing:
        timing["ti"] = timing.pop("null") * null(times("fluid", tesla).t1, timing["tr"])
    means = {t: signal(times(t, tesla), **timing) for t in TISSUES}
    return {t: mean / means["white"] for t, mean in means.items()}


def test_every_tissue_relaxes_at_every_field():
    for tissue in TISSUES:
        for tesla in TESLA:
            pd, t1, t2, t2_star = times(tissue, tesla)
            assert 0 <= pd <= 1
            assert t1 > t2_star > 0
            assert t2 >= t2_star
    assert times("white", 0.064).t1 < times("white", 1.5).t1 < times("white", 3.0).t1


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_physics_agrees_with_the_published_mprage(tesla):
    published = CONTRAST_TABLES["T1"]
    for tissue in ("fluid", "thalamus", "caudate", "putamen", "pallidum", "brainstem", "ventral_dc"):
        assert mid("mprage", tesla)[tissue] == pytest.approx(published[tissue], abs=0.12)


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_the_clinical_t1_is_a_spin_echo(tesla):
    """Patient 1 of open_ms_data: cortex has 0.82 of white matter, fluid 0.45; in an MP-RAGE 0.6 and 0.2."""
    table = CONTRAST_TABLES["T1 SE"]
    assert table["cortex"] == pytest.approx(0.82, abs=0.05)
    assert table["fluid"] == pytest.approx(0.45, abs=0.05)
    assert 0.75 < table["cortex"] < table["caudate"] < table["thalamus"] < table["white"] == 1
    for tissue in ("fluid", "cortex", "thalamus", "cerebellar_cortex"):
        assert mid("t1", tesla)[tissue] == pytest.approx(table[tissue], abs=0.06)


@pytest.mark.parametrize(("name", "least", "most"), [("T1", 0.9, 1.0), ("T1 SE", 0.0, 0.05), ("T2", 0.0, 0.0)])
def test_a_real_t1_stands_for_an_mprage_alone(name, least, most):
    step = Mixture(random=0.0, tables=(name,), weights=(1.0,), spread=(0.02, 0.1), enhanced=0.3)
    share = fmean(is_t1(step.draw(Random(k))["means"]) for k in range(300))
    assert least <= share <= most


def test_contrast_medium_is_seen_in_a_t1_alone():
    plain = {"random": 0.0, "spread": (0.0, 0.0), "surface": (0.5, 0.5), "enhanced": 1.0}
    for name in ("T1", "T1 SE", "T2"):
        means = Mixture(tables=(name,), weights=(1.0,), **plain).draw(Random(1))["means"]
        table = {t: x * (0.5 if t in SURFACE else 1) for t, x in CONTRAST_TABLES[name].items()}
        changed = {t for t in TISSUES if t != "air" and means[t] != pytest.approx(table[t])}
        assert changed == (set(ENHANCED) if name != "T2" else set())
        assert name == "T2" or all(0.9 <= means[t] <= 1.6 for t in ENHANCED)


@pytest.mark.parametrize(
    ("protocol", "tesla", "order"),
    [
        ("t1", 1.5, ("fluid", "cortex", "white")),
        ("t2", 1.5, ("pallidum", "white", "cortex", "fluid")),
        ("flair", 3.0, ("fluid", "white", "cortex", "lesion")),
        ("t2_star", 3.0, ("bone", "pallidum", "white", "cortex", "fluid")),
        ("swoop_t1", 0.064, ("fluid", "cortex", "white")),
        ("swoop_t2", 0.064, ("white", "cortex", "lesion", "fluid")),
        ("swoop_flair", 0.064, ("fluid", "white", "cortex", "lesion")),
    ],
)
def test_tissues_are_in_the_order_of_the_textbook(protocol, tesla, order):
    bright = mid(protocol, tesla)
    assert sorted(order, key=bright.__getitem__) == list(order)


@pytest.mark.parametrize("step", [Physics(), LowField()])
def test_the_brightest_healthy_tissue_has_1(step):
    for k in range(20):
        draw = step.draw(Random(k)) | {"texture": 0.0}
        seen = [acquire(block(n, 3), **draw).data.mean() for n, row in LABELS.items() if row.tissue in BRAIN]
        assert max(seen).item() == pytest.approx(1, abs=1e-4)


def test_a_protocol_can_be_fixed():
    step = Physics(sequences=("t2",), weights=(1.0,), timing={"te": (100.0, 100.0)})
    assert step.draw(Random(0))["timing"]["te"] == 100
    with pytest.raises(ValueError, match="no sequence called"):
        Physics(sequences=("t7",), weights=(1.0,))
    with pytest.raises(ValueError, match="not known"):
        Physics(tesla=(7.0,))


def test_the_low_field_scanner_has_its_field_and_its_sequences():
    draws = [LowField().draw(Random(k)) for k in range(30)]
    assert {draw["sequence"] for draw in draws} == {"swoop_t1", "swoop_t2", "swoop_flair"}
    assert all(draw["t1"]["white"] < 400 for draw in draws)


# Priors


def test_measured_priors_come_back_from_many_draws():
    step = Measured(means={"white": (0.9, 0.05)}, stds={"white": (0.1, 0.01)})
    draws = [step.draw(Random(k)) for k in range(2000)]
    assert fmean(d["means"]["white"] for d in draws) == pytest.approx(0.9, abs=0.005)
    assert stdev(d["means"]["white"] for d in draws) == pytest.approx(0.05, rel=0.1)
    assert stdev(d["stds"]["white"] for d in draws) == pytest.approx(0.01, rel=0.1)
    assert all(d["means"]["cerebellar_white"] == d["means"]["white"] for d in draws)  # one class
    assert stdev(d["means"]["fluid"] for d in draws) > 0.2  # not measured


def test_uniform_priors_keep_their_bounds():
    step = Measured(distribution="uniform", means={"white": (0.5, 0.7)}, stds={"white": (0.0, 0.1)})
    seen = [step.draw(Random(k))["means"]["white"] for k in range(300)]
    assert 0.5 <= min(seen) < 0.51
    assert 0.69 < max(seen) <= 0.7


def test_normal_priors_are_cut_off_at_zero():
    rng = Random(0)
    values = [sampled(rng, "normal", 0.1, 0.5) for _ in range(4000)]
    assert min(values) >= 0
    # Mean of a normal distribution cut off below 0: m + s phi(a) / (1 - Phi(a)) with a = -m / s.
    a = -0.2
    expected = 0.1 + 0.5 * math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(a / math.sqrt(2)))
    assert fmean(values) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distribution": "cauchy"}, "no distribution called 'cauchy'"),
        ({"means": {"whit": (1, 0)}, "stds": {"whit": (1, 0)}}, r"means holds \['whit'\]"),
        ({"means": {"white": (1, 0)}}, r"\['white'\] have a prior in one of means and stds"),
        ({"means": {"white": (1, -1)}, "stds": {"white": (0, 0)}}, "means.white has mean 1 and deviation -1"),
        ({"distribution": "uniform", "means": {"white": (1, 0)}, "stds": {"white": (0, 0)}}, "runs from 1 to 0"),
    ],
)
def test_priors_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Measured(**settings)


@pytest.mark.parametrize("name", NAMES)
def test_tables_that_ship_are_priors(name):
    table = prior_table(name)
    assert table.pop("kind") == "measured"
    draw = Measured(**{k: {t: tuple(p) for t, p in v.items()} if isinstance(v, dict) else v for k, v in table.items()})
    assert set(draw.draw(Random(0))["means"]) == set(TISSUES)


def test_random_means_cover_the_range_of_the_paper():
    draws = [Randomised().draw(Random(k)) for k in range(400)]
    for key, top in (("means", 255), ("stds", 35)):
        seen = [d[key]["cortex"] for d in draws]
        assert min(seen) < 0.05 * top
        assert 0.95 * top < max(seen) <= top
    black = sum(d["means"]["air"] == 0 for d in draws) / len(draws)
    assert 0.02 < black < 0.09
    normal = replace(Randomised(), distribution="normal", means=(25.0, 225.0))
    assert fmean(normal.draw(Random(k))["means"]["cortex"] for k in range(500)) == pytest.approx(140, abs=15)


# CT


def test_tissues_have_their_hounsfield_units():
    for number, tissue in ((2, "white"), (24, "fluid"), (515, "bone"), (0, "air")):
        y = hounsfield(block(number), means=HU, stds=SILENT, **PLAIN)
        assert y.data.mean().item() == pytest.approx(HU[tissue], abs=0.1)


def test_fat_and_muscle_lie_side_by_side_not_voxel_by_voxel():
    """As uneven as was said; neighbours are alike, and what lies two lumps away is not. A brain is even."""
    said = PLAIN | {"means": HU, "stds": SILENT | {"soft": 15.0}}
    y = hounsfield(block(507, 64), **said).data[0] - HU["soft"]
    assert y.std().item() == pytest.approx(15, rel=0.25)
    for axis in range(3):
        for distance, alike in ((1, (0.8, 1.0)), (16, (-0.15, 0.15))):
            pair = [y.narrow(axis, first, 64 - distance).flatten() for first in (0, distance)]
            assert alike[0] < torch.corrcoef(torch.stack(pair))[0, 1] < alike[1]
    assert hounsfield(block(2, 64), **said).data.std() < 1e-3
    uneven = hounsfield(block(507, 64), **said | {"stds": SILENT | {"soft": 80.0}}).data
    assert (uneven.min().item(), uneven.max().item()) == pytest.approx((FAT, HU["muscle"]), abs=0.01)


def test_edges_mix_in_hounsfield_units_before_the_clip():
    """A slice that is a fifth bone is as white as bone; had it been clipped first, it would be grey."""
    x = block(2, 40)
    x.data[..., 19:21] = 515  # 2 mm of bone in 8 mm of slice
    y = hounsfield(x, means=HU, stds=SILENT, **PLAIN)
    still = {"spacing": [1.0, 1.0, 8.0], "thickness": [0.1, 0.1, 8.0], "alpha": 0.58, "offset": [0.0, 0.0, 0.5]}
    z = ct_slices(y, **still, sigma=0.0, grain=1.0, seed=0)
    middle = z.data[0, 20, 20]
    assert middle.max() == HOUNSFIELD[1]
    clipped_first = ct_slices(y.with_data(soft_tissue(y.data)), **still, sigma=0.0, grain=1.0, seed=0)
    assert clipped_first.data[0, 20, 20].max() < 0.7 * HOUNSFIELD[1]


def test_generator_and_prediction_clip_alike():
    x = torch.tensor([-1000.0, -1.0, 0.0, 37.5, 80.0, 3000.0])
    assert soft_tissue(x).tolist() == [0, 0, 0, 37.5, 80, 80]


def test_the_noise_of_the_beam_is_in_hounsfield_units_and_correlated_in_the_slice():
    x = Volume(torch.full((1, 40, 40, 40), 40.0), np.eye(4))
    still = {"spacing": [1.0, 1.0, 5.0], "thickness": [0.1, 0.1, 5.0], "alpha": 0.58, "offset": [0.0, 0.0, 0.0]}
    noise = ct_slices(x, **still, sigma=4.0, grain=3.0, seed=2).data[0] - 40
    assert noise.std().item() == pytest.approx(4, rel=0.05)
    assert abs(noise.mean().item()) < 0.5
    along, through = (torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in (
        (noise[1:], noise[:-1]), (noise[..., 1:], noise[..., :-1])))  # fmt: skip
    assert along > 0.5
    assert abs(through) < 0.1


@pytest.mark.parametrize("axis", range(3))
def test_the_noise_is_grainy_in_the_slice_whichever_way_it_lies(axis):
    x = Volume(torch.full((1, 40, 40, 40), 40.0), np.eye(4))
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 4.0
    still = {"spacing": spacing, "thickness": [0.1] * 3, "alpha": 0.58, "offset": [0.0] * 3}
    noise = ct_slices(x, **still, sigma=4.0, grain=3.0, seed=2).data[0] - 40
    for k in range(3):
        n = noise.shape[k]
        ahead, behind = noise.narrow(k, 1, n - 1).flatten(), noise.narrow(k, 0, n - 1).flatten()
        alike = torch.corrcoef(torch.stack([ahead, behind]))[0, 1]
        assert abs(alike) < 0.1 if k == axis else alike > 0.5


def test_the_slices_of_a_ct_of_cubes_are_axial():
    x = Volume(torch.full((1, 40, 40, 40), 40.0), np.eye(4))
    still = {"spacing": [1.0] * 3, "thickness": [0.1] * 3, "alpha": 0.58, "offset": [0.0] * 3}
    noise = ct_slices(x, **still, sigma=4.0, grain=3.0, seed=2).data[0] - 40
    alike = [torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in (
        (noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 1:], noise[..., :-1]))]  # fmt: skip
    assert min(alike[:2]) > 0.5
    assert abs(alike[2]) < 0.1


def test_a_gantry_takes_axial_slices_and_a_share_is_reformatted():
    def planes(**options):
        draws = [Gantry(thick=1.0, **options).draw(Random(k))["spacing"] for k in range(400)]
        return [sum(spacing.index(max(spacing)) == axis for spacing in draws) / 400 for axis in range(3)]

    assert planes(reformatted=0.0) == [0, 0, 1]
    assert planes(reformatted=0.4) == pytest.approx([0.2, 0.2, 0.6], abs=0.06)


def test_a_clean_ct_is_clipped_as_every_ct_is(head):
    """Super-resolution of a CT: bone in the target is as white as 80 HU, whatever its Hounsfield units."""
    slices = Gantry(noise=(0.0, 0.0), thick=1.0, orientation="axial", reformatted=0.0, spacing=(3.0, 3.0))
    channel = Channel(contrast=Hounsfield(), corruptions=(slices, Window(gain=(1.0, 1.0))))
    still = Deform(rotation=0, scale=0, shear=0, velocity=(0, 0), mirror=0)
    sample = Generator(channels=(channel,), target=0, deform=still, strip=Strip(stripped=0.0))(head, None, seed=1)
    draw = sample.recipe["channels"][0]
    clean = soft_tissue(hounsfield(sample.labels, **draw["contrast"]).data)
    factor = sample.target.data[clean > 5] / clean[clean > 5]
    dim = sample.target.data[clean > 5] < 1
    assert factor[dim].std() < 1e-4 * factor[dim].mean()
    assert sample.target.data.max() <= sample.image.data.max() + 0.05


def test_calcium_fills_the_share_that_is_said():
    x = block(13, 40)  # pallidum
    y = hounsfield(x, means=HU, stds=SILENT, **PLAIN | {"calcium": {"pallidum": [0.2, 400.0]}})
    share = (y.data > 200).float().mean().item()
    assert share == pytest.approx(0.2, abs=0.05)
    assert y.data.max().item() == pytest.approx(400, abs=1)
    none = hounsfield(x, means=HU, stds=SILENT, **PLAIN | {"calcium": {"pallidum": [0.0, 400.0]}})
    assert none.data.max() < 60


def test_the_falx_lies_between_the_hemispheres_alone():
    x = block(24, 30)
    x.data[:, :13], x.data[:, 15:] = 3, 42
    x.data[:, :13, :5] = x.data[:, 15:, :5] = 24  # a cistern: no hemisphere to its sides
    y = hounsfield(x, means=HU, stds=SILENT, **PLAIN | {"falx": 70.0}).data[0]
    assert y[13:15, 10:].mean().item() == pytest.approx(70, abs=0.1)
    assert y[13:15, :3].mean().item() == pytest.approx(HU["fluid"], abs=1)


def test_a_dark_voxel_of_a_real_t1_is_not_half_air():
    for level in (1, 2, 3):
        y = hounsfield(block(CLUSTER + level), means=HU, stds=SILENT, **PLAIN)
        assert y.data.mean().item() == pytest.approx(HU["fluid"], abs=0.1)


def test_what_the_head_lies_on_is_behind_it_and_only_in_air(head):
    holder = {"gap": 1.0, "clearance": 3.0, "thickness": 3.0, "opening": 150.0, "value": 100.0}
    table = {"drop": 2.0, "radius": 300.0, "thickness": 2.0, "width": 400.0, "value": 50.0}
    air = torch.nn.functional.pad(head.data[0], (0, 0, 20, 4, 4, 4)) == 0
    shapes = list(furniture(air, (1.0, 1.0, 1.0), holder=holder, table=table))
    assert [shape.value for shape in shapes] == [50, 100]
    back = (~air).any(2).any(0).nonzero()[0].item()
    for shape in shapes:
        assert shape.mask.any()
        assert not (shape.mask & ~air).any()
        assert shape.mask[air.shape[0] // 2].any(1).nonzero().max() < back
    assert not list(furniture(torch.ones(4, 4, 4, dtype=torch.bool), (1.0, 1.0, 1.0), holder=holder, table=table))
    y = hounsfield(head, means=HU, stds=SILENT, **PLAIN | {"holder": holder, "table": table})
    assert y.data.min() >= AIR


def test_a_stripped_head_lies_on_nothing(head):
    bare = head.with_data(torch.where(head.data >= 500, 0, head.data))
    lying = {"holder": {"gap": 1.0, "clearance": 1.0, "thickness": 3.0, "opening": 200.0, "value": 100.0}}
    y = hounsfield(bare, means=HU, stds=SILENT, **PLAIN | lying)
    assert (y.data[bare.data == 0] < 50).all()


def test_blood_is_painted_where_the_lesions_say():
    x = block(2)
    masks = torch.zeros(len(LESION_TISSUES), 24, 24, 24)
    masks[LESION_TISSUES.index("blood"), :, :, 12:] = 1
    y = hounsfield(x, means=HU, stds=SILENT, **PLAIN, lesions=Volume(masks, x.affine)).data[0]
    assert y[..., 15:].mean().item() == pytest.approx(HU["blood"], abs=0.1)
    assert y[..., :9].mean().item() == pytest.approx(HU["white"], abs=0.1)


def test_ct_and_its_gantry_come_together():
    Channel(contrast=Hounsfield(), corruptions=(Gantry(),))
    with pytest.raises(ValueError, match="wants gantry"):
        Channel(contrast=Hounsfield())
    with pytest.raises(ValueError, match="acquires CT alone"):
        Channel(corruptions=(Gantry(),))


@pytest.mark.parametrize("kind", CONTRASTS)
def test_each_contrast_replays_exactly_with_lesions(kind, head):
    corruptions = (Gantry(), Window()) if kind == "hounsfield" else Channel().corruptions
    channel = Channel(contrast=CONTRASTS[kind](), corruptions=corruptions)
    generator = Generator(channels=(channel,), pathology=Pathology(stroke=1.0))
    first = generator(head, None, seed=4)
    again = generator.replay(head, None, json.loads(json.dumps(first.recipe)))
    assert torch.equal(first.image.data, again.image.data)
    assert 0 <= first.image.data.min() < first.image.data.max() <= 1.5


def test_two_weights_and_two_names_are_no_range():
    assert LowField(sequences=("swoop_t2", "swoop_t1"), weights=(3.0, 1.0)).weights == (3.0, 1.0)
    with pytest.raises(ValueError, match="runs from"):
        LowField(tissue=(0.2, 0.1))
