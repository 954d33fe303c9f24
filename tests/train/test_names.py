"""Real T1s that know which grey matter is which."""

from random import Random

import numpy as np
import pytest
import torch
from phantoms import save
from small import head as small_head

from isomorph.labels import CLUSTER, CLUSTERS, GREY, LABELS, LIMIT, STEP, TISSUES, brain_mask, level_of, mixture
from isomorph.predict.plan import LABELLED
from isomorph.report.sheet import _coloured
from isomorph.space import resample
from isomorph.structures import STRUCTURES, anatomical, class_map
from isomorph.synth import Deform, Generator, Pathology
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.hounsfield import HOUNSFIELD_TABLE, Hounsfield, hounsfield
from isomorph.synth.mixture import paint
from isomorph.synth.pathology.anatomy import CORTEX, DEEP, FLUID, WHITE, Anatomy
from isomorph.train import corpus
from isomorph.train.names import ENDS, PLAUSIBLE, SUFFIXES, implausible, named
from isomorph.volume import Volume

SILENT = dict.fromkeys(TISSUES, 0.0)
PUTAMEN = CLUSTER + CLUSTERS * GREY.index("putamen")


def level(value):
    return CLUSTER + round(value / STEP)


def judged(segmentation):
    """Of a scan that shows no more than what is named."""
    return implausible(segmentation, segmentation.with_data((segmentation.data.round() > 0).float()))


def block(number, side=20):
    return Volume(torch.full((1, side, side, side), number), np.eye(4))


def true_size(factor=1.0, **factors):
    """A segmentation in which each structure has the size in the middle of what is plausible, times a factor."""
    data = torch.zeros(100 * 60 * 20, dtype=torch.int16)
    start = 0
    for tissue, (least, most) in PLAUSIBLE.items():
        for label in (one for one in LABELS.values() if one.tissue == tissue):
            count = round(500 * (least + most) * factor * factors.get(label.name.replace(" ", "_"), 1.0))
            data[start : start + count] = label.number
            start += count
    return Volume(data.view(1, 100, 60, 20), np.eye(4))


def test_a_level_becomes_one_of_a_structure_and_nothing_else_changes():
    levels = torch.tensor([0, level(0.25), level(0.6), level(1.0), 24, level(0.6)]).view(1, 6, 1, 1)
    names = torch.tensor([12, 51, 12, 12, 12, 3]).view(1, 6, 1, 1)
    found = named(Volume(levels, np.eye(4)), Volume(names, np.eye(4))).data.flatten().tolist()
    assert found == [0, PUTAMEN + 5, PUTAMEN + 12, PUTAMEN + 20, 24, level(0.6)]
    assert level_of(PUTAMEN + 12) == ("putamen", pytest.approx(0.6))
    assert brain_mask(torch.tensor(found)).tolist() == [False, True, True, True, False, True]
    assert anatomical(torch.tensor(found).view(1, 6, 1, 1)).item() == 0  # still no map of structures


def test_what_is_named_is_painted_as_that_structure_or_in_part_as_fluid():
    table = mixture()
    assert torch.allclose(table[CLUSTER:LIMIT].sum(1), torch.ones(LIMIT - CLUSTER))
    half = table[PUTAMEN + 9]  # 0.45: between fluid, up to 0.15, and grey matter, 0.6
    assert half[TISSUES.index("putamen")] == pytest.approx((0.45 - 0.15) / 0.45, abs=1e-4)
    assert half[TISSUES.index("fluid")] == pytest.approx((0.6 - 0.45) / 0.45, abs=1e-4)
    for bright in (12, 16, 20, 25):
        assert table[PUTAMEN + bright, TISSUES.index("putamen")] == 1
    means = CONTRAST_TABLES["T2"]
    for number, tissue in ((PUTAMEN + 16, "putamen"), (level(0.6), "cortex"), (level(1.0), "white")):
        assert paint(block(number), means=means, stds=SILENT, seed=0).data.mean() == pytest.approx(means[tissue])


def test_disease_finds_a_deep_nucleus_where_one_is_named():
    for number, region in ((PUTAMEN + 20, DEEP), (PUTAMEN + 12, DEEP), (PUTAMEN + 5, FLUID), (level(0.6), CORTEX)):
        assert Anatomy(block(number)).regions((slice(0, 1),) * 3).item() == region
    assert Anatomy(block(level(1.0))).regions((slice(0, 1),) * 3).item() == WHITE


def test_a_dark_voxel_of_a_nucleus_is_fluid_in_a_ct():
    means = {tissue: mean for tissue, (mean, _) in HOUNSFIELD_TABLE.items()}
    draw = Hounsfield().draw(Random(0))
    plain = draw | {"means": means, "stds": SILENT, "calcium": {}}
    for number, tissue in ((PUTAMEN + 3, "fluid"), (PUTAMEN + 14, "putamen")):
        assert hounsfield(block(number), **plain).data.mean().item() == pytest.approx(means[tissue], abs=0.1)


def test_volumes_tell_a_segmentation_that_cannot_be_true():
    assert judged(true_size()) == ""
    assert judged(true_size(right_hippocampus=0.0)).startswith("right hippocampus of 0.0 ml")
    assert "pallidum" in judged(true_size(left_pallidum=3.0))
    said = judged(true_size(right_thalamus=0.6))
    assert said.startswith("thalamus of")
    assert said.endswith("left and right")
    coarse = true_size(1 / 8)
    assert judged(Volume(coarse.data, np.diag([2.0, 2.0, 2.0, 1.0]))) == ""  # ml, not voxels


def test_place_tells_the_segmentation_of_another_scan():
    where = true_size()
    brain = where.with_data((where.data > 0).float())
    elsewhere = where.with_data(where.data.roll(40, 1))
    assert implausible(where, brain) == ""
    assert implausible(elsewhere, brain).startswith("what is named covers the brain with a Dice of 0.")


def test_numbers_are_whole_and_those_that_the_table_lacks_name_nothing():
    where = true_size()
    for change in (-0.0004, 0.0004):  # as a scale factor of a header leaves them
        assert judged(where.with_data(where.data + change)) == ""
    odd = torch.tensor([1003, -4, 970, 12]).view(1, 4, 1, 1)
    assert judged(where.with_data(torch.where(where.data == 0, 1003, where.data))) == ""
    grey = Volume(torch.full((1, 4, 1, 1), level(0.6)), np.eye(4))
    found = named(grey, grey.with_data(odd)).data.flatten().tolist()
    assert found == [level(0.6)] * 3 + [PUTAMEN + 12]


def test_names_survive_a_lent_head_and_every_step_of_a_sample():
    head = small_head("a").labels
    levels = torch.where(brain_mask(head.data), level(0.6), head.data)
    near = torch.zeros_like(levels)
    near[:, 20:26, 20:26, 20:26] = 12
    labels = named(head.with_data(levels), head.with_data(near))
    target = labels.with_data(0.6 * (labels.data > 0).float())
    ill = Pathology(sclerosis=1.0, tumour=1.0, tumour_size=(8.0, 12.0))
    generator = Generator(deform=Deform(size=(32.0,) * 3), own=0.5, reliability=True, pathology=ill)
    found = set()
    for seed in range(4):
        sample = generator(labels, target, seed)
        assert sample.image.data.isfinite().all()
        found |= set(sample.labels.data.unique().tolist())
    assert PUTAMEN + 12 in found
    _, known = class_map(labels.data[None].long(), STRUCTURES)
    assert not known.any()  # what lies around the nuclei has no name


def test_a_named_pallidum_may_calcify(monkeypatch):
    number = CLUSTER + CLUSTERS * GREY.index("pallidum") + 18
    means = {tissue: mean for tissue, (mean, _) in HOUNSFIELD_TABLE.items()}
    draw = Hounsfield().draw(Random(0)) | {"means": means, "stds": SILENT}
    plain, chalk = (
        hounsfield(block(number), **draw | {"calcium": calcium}).data.amax()
        for calcium in ({}, {"pallidum": [0.3, 120.0]})
    )
    assert chalk > plain + 50


def test_a_picture_shows_names_in_colour_and_levels_in_grey():
    image = _coloured(np.array([level(0.6), PUTAMEN + 12, PUTAMEN + 20]))
    assert np.ptp(image[0]) == 0
    assert np.ptp(image[1]) > 0.1
    assert (image[2] > image[1]).any()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A scan of one brightness, 0.7 of what is called white, with a plausible segmentation."""
    monkeypatch.setattr(corpus, "bias_corrected", lambda x: x)
    monkeypatch.setattr(corpus, "tissue_levels", lambda x: (25.0, 60.0, 100.0))
    for folder in ("t1", "segmentations"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    noise = torch.rand(100, 60, 20, generator=torch.Generator().manual_seed(0))
    brain = true_size().data > 0
    save(Volume((70 + noise)[None] * brain, np.eye(4)), tmp_path / "data" / "t1" / "s.nii.gz")
    return tmp_path / "data"


def prepared(data, out):
    said = []
    head = corpus.load(corpus.prepare(data, data.parent / out, report=said.append))[0]
    return head.labels, [line for line in said if "name" in line]


@pytest.mark.parametrize("name", ["s.nii.gz", "s_desc-synth_dseg.nii.gz"])
def test_a_segmentation_beside_the_scans_gives_names(name, data):
    where = true_size()
    save(Volume(where.data.float(), where.affine), data / "segmentations" / name)
    labels, said = prepared(data, "corpus")
    assert said == []
    inside = labels.data[labels.data > 0]
    assert {level_of(number)[0] for number in inside.unique().tolist()} == set(GREY[1:])
    left = where.data == 12
    assert (inside.view(-1) == PUTAMEN + 14).sum() == (left | (where.data == 51)).sum()


def test_one_that_cannot_be_true_is_left_out_and_a_line_says_so(data):
    where = true_size(left_amygdala=0.0)
    save(Volume(where.data.float(), where.affine), data / "segmentations" / "s.nii.gz")
    labels, said = prepared(data, "corpus")
    assert said == ["s stays without names: left amygdala of 0.0 ml, where 0.7 to 3 are plausible"]
    assert {level_of(number)[0] for number in labels.data[labels.data > 0].unique().tolist()} == {"cortex"}


def test_of_an_oblique_scan_it_may_lie_on_any_grid(data):
    """Of other axes, other spacing, another frame: what counts is the place in the scanner."""
    where, tilt = true_size(), np.eye(4)
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    tilt[:3, :3], tilt[:3, 3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]], [5, -7, 3]
    noise = torch.rand(where.data.shape, generator=torch.Generator().manual_seed(0))
    save(Volume((70 + noise) * (where.data > 0), tilt), data / "t1" / "s.nii.gz")
    shape, world = (130, 150, 30), np.eye(4)
    world[:3, 3] = [-25, -20, -2]
    straight = resample(Volume(where.data, tilt), shape, world, mode="nearest")
    turned = Volume(straight.data.permute(0, 2, 3, 1), world[:, [1, 2, 0, 3]])
    save(Volume(turned.data.float(), turned.affine), data / "segmentations" / "s.nii.gz")
    labels, said = prepared(data, "corpus")
    assert said == []
    (exact,) = corpus.load(data.parent / "corpus")
    inside = exact.labels.data[labels.data > 0].view(-1)
    truth = where.data[where.data > 0].view(-1)  # cropping keeps the order of what is inside
    putamen, expected = inside >= PUTAMEN, (truth == 12) | (truth == 51)
    putamen &= inside < PUTAMEN + CLUSTERS
    assert 2 * (putamen & expected).sum() / (putamen.sum() + expected.sum()) > 0.9


def test_files_that_name_no_scan_and_scans_prepared_without_names_are_told(data):
    assert prepared(data, "corpus")[1] == []
    where = true_size()
    for name in ("s.nii.gz", "x.nii.gz"):
        save(Volume(where.data.float(), where.affine), data / "segmentations" / name)
    said = []
    corpus.prepare(data, data.parent / "corpus", report=said.append)
    assert said == [
        "segmentations/x.nii.gz has the name of no scan in t1/",
        "1 scans stay without names, as they were prepared; choose a new folder to name them",
    ]


def test_the_name_of_a_segmentation_is_that_which_segment_gives():
    assert "".join((ENDS[1], SUFFIXES[0])) == LABELLED
