"""Real T1s that know which grey matter is which."""

from random import Random

import numpy as np
import pytest
import torch
from phantoms import save

from isomorph.labels import CLUSTER, CLUSTERS, GREY, LABELS, LIMIT, STEP, TISSUES, brain_mask, level_of, mixture
from isomorph.structures import anatomical
from isomorph.synth.contrasts import CONTRAST_TABLES
from isomorph.synth.hounsfield import HOUNSFIELD_TABLE, Hounsfield, hounsfield
from isomorph.synth.mixture import paint
from isomorph.synth.pathology.anatomy import CORTEX, DEEP, FLUID, WHITE, Anatomy
from isomorph.train import corpus
from isomorph.train.names import PLAUSIBLE, implausible, named
from isomorph.volume import Volume

SILENT = dict.fromkeys(TISSUES, 0.0)
PUTAMEN = CLUSTER + CLUSTERS * GREY.index("putamen")


def level(value):
    return CLUSTER + round(value / STEP)


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
    half = table[PUTAMEN + 9]  # 0.45: between fluid, 0.25, and grey matter, 0.6
    assert half[TISSUES.index("putamen")] == pytest.approx((0.45 - 0.25) / 0.35, abs=1e-4)
    assert half[TISSUES.index("fluid")] == pytest.approx((0.6 - 0.45) / 0.35, abs=1e-4)
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
    assert implausible(true_size()) == ""
    assert implausible(true_size(right_hippocampus=0.0)).startswith("right hippocampus of 0.0 ml")
    assert "pallidum" in implausible(true_size(left_pallidum=3.0))
    said = implausible(true_size(right_thalamus=0.6))
    assert said.startswith("thalamus of")
    assert said.endswith("left and right")
    coarse = true_size(1 / 8)
    assert implausible(Volume(coarse.data, np.diag([2.0, 2.0, 2.0, 1.0]))) == ""  # ml, not voxels


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A scan of one brightness, 0.7 of what is called white, with a plausible segmentation."""
    monkeypatch.setattr(corpus, "bias_corrected", lambda x: x)
    monkeypatch.setattr(corpus, "tissue_levels", lambda x: (25.0, 60.0, 100.0))
    for folder in ("t1", "segmentations"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    noise = torch.rand(100, 60, 20, generator=torch.Generator().manual_seed(0))
    save(Volume((70 + noise)[None], np.eye(4)), tmp_path / "data" / "t1" / "s.nii.gz")
    return tmp_path / "data"


def prepared(data, out):
    said = []
    head = corpus.load(corpus.prepare(data, data.parent / out, report=said.append))[0]
    return head.labels, [line for line in said if "names" in line]


@pytest.mark.parametrize("name", ["s.nii.gz", "s_desc-synth_dseg.nii.gz"])
def test_a_segmentation_beside_the_scans_gives_names(name, data):
    where = true_size()
    save(Volume(where.data.float(), where.affine), data / "segmentations" / name)
    labels, said = prepared(data, "corpus")
    assert said == []
    inside = labels.data[labels.data > 0]
    assert {level_of(number)[0] for number in inside.unique().tolist()} == set(GREY)
    left = where.data == 12
    assert (inside.view(-1) == PUTAMEN + 14).sum() == (left | (where.data == 51)).sum()


def test_one_that_cannot_be_true_is_left_out_and_a_line_says_so(data):
    where = true_size(left_amygdala=0.0)
    save(Volume(where.data.float(), where.affine), data / "segmentations" / "s.nii.gz")
    labels, said = prepared(data, "corpus")
    assert said == ["s stays without names: left amygdala of 0.0 ml, where 0.7 to 3 are plausible"]
    assert {level_of(number)[0] for number in labels.data[labels.data > 0].unique().tolist()} == {"cortex"}
