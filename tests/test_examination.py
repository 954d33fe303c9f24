"""What the examination of a model is made of: its numbers are known here, its networks are not needed."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from brains import brain
from phantoms import centred
from scipy.stats import mannwhitneyu

from isomorph.config import stage_generator
from isomorph.evaluate import METRICS
from isomorph.evaluate.atrophy import HIPPOCAMPUS, shrunken
from isomorph.evaluate.fit import compared, fitted
from isomorph.evaluate.statistics import auroc, correlation, dice, relative_error, variation
from isomorph.evaluate.table import markdown
from isomorph.volume import Volume

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def examination(monkeypatch: pytest.MonkeyPatch):
    """The package that lies beside the scripts that use it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import examination.atrophy
    import examination.heads
    import examination.painted
    import examination.sheet

    yield examination
    for name in [name for name in sys.modules if name.split(".")[0] == "examination"]:
        monkeypatch.delitem(sys.modules, name)


def test_painted_heads_are_scanned_as_asked(examination) -> None:
    who = SimpleNamespace(heads=2, contrasts=("CT", "T1 SE"))
    cases = [key for key, _ in examination.painted.cases(who)]
    assert cases == ["0/target", "0/CT", "0/T1 SE", "1/target", "1/CT", "1/T1 SE"]


def test_networks_are_compared_on_single_contrasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import architectures

    for contrast in architectures.CONTRASTS:
        stage = architectures.recipe_of(1.0, contrast).training.stages[0]
        channel = stage_generator(architectures.recipe_of(1.0, contrast), stage).channels[0]
        assert channel.contrast.tables == (contrast,)
    monkeypatch.delitem(sys.modules, "architectures")


def test_auroc_agrees_with_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    ill, healthy = rng.normal(0, 1, 23).round(1), rng.normal(0.8, 1, 31).round(1)  # rounded: there are ties
    whole = mannwhitneyu(healthy, ill).statistic / (len(ill) * len(healthy))
    assert auroc(ill, healthy) == pytest.approx(whole)
    assert auroc(ill, ill) == 0.5
    assert auroc([1, 2], [3, 4]) == 1
    assert auroc([3, 4], [1, 2]) == 0
    for unknown in (([math.nan], [1]), ([1, 2], [3, math.nan])):
        assert math.isnan(auroc(*unknown))
    with pytest.raises(ValueError, match="two groups"):
        auroc([], [1.0])


def test_numbers_of_pairs_are_those_of_the_definition() -> None:
    assert relative_error([9, 22], [10, 20]) == pytest.approx(0.1)
    assert variation([9, 10, 11]) == pytest.approx(0.1)
    rng = np.random.default_rng(1)
    a, b = rng.normal(5, 1, 9), rng.normal(5, 1, 9)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert math.isnan(correlation([1, 2], [1, 2]))  # two points always lie on a line
    assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
    for wrong in (correlation, relative_error):
        with pytest.raises(ValueError, match="as many"):
            wrong([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="two measurements"):
        variation([1.0])


def test_dice_is_the_share_that_two_structures_have_in_common() -> None:
    a, b = (torch.zeros(4, 4, 4, dtype=torch.bool) for _ in range(2))
    a[0], b[0, :2] = True, True
    assert dice(a, b) == pytest.approx(2 * 8 / 24)
    assert dice(a, b, mask=b) == 1
    assert math.isnan(dice(a[1:], b[1:]))


def test_an_image_is_compared_after_the_line_that_fits_best() -> None:
    truth = torch.rand(14, 14, 14, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(14, 14, 14, dtype=torch.bool)
    mask[2:12, 3:12, 2:13] = True
    inverted = 7 - 3 * truth
    torch.testing.assert_close(fitted(inverted, truth, mask), truth)
    scores = compared({"inverted": inverted, "nothing": torch.rand(14, 14, 14)}, truth, mask, data_range=1.0)
    assert scores["inverted"]["ncc"] == pytest.approx(1)


def test_scores_do_not_depend_on_how_much_lies_around_the_mask() -> None:
    rng = torch.Generator().manual_seed(0)
    truth, image = (torch.rand(40, 36, 30, generator=rng) for _ in range(2))
    mask = torch.zeros(truth.shape, dtype=torch.bool)
    mask[14:20, 3:9, 22:29] = True  # windows reach over the border of the image
    near = fitted(image, truth, mask)
    (scores,) = compared({"image": image}, truth, mask, data_range=1.0).values()
    assert scores == pytest.approx(
        {name: score(near, truth, mask=mask, data_range=1.0) for name, score in METRICS.items()}
    )


@pytest.mark.parametrize("share", [0.1, 0.37])
def test_a_hippocampus_loses_what_was_asked_and_first_beside_fluid(share: float) -> None:
    shape = (96, 96, 80)
    x = brain(shape, centred(shape, np.eye(3)))
    hippocampus = x.data[0] == 17
    x.data[0][hippocampus.nonzero()[:, 0].amin() - 2 : hippocampus.nonzero()[:, 0].amin(), 20:60, 10:40] = 5  # fluid
    before = x.data.clone()
    y = shrunken(x, share)
    assert torch.equal(x.data, before)
    for number, instead in HIPPOCAMPUS.items():
        n = int((before == number).sum())
        assert n > 1000
        assert int((y.data == number).sum()) == round(n * (1 - share))
        assert set(y.data[before == number].unique().tolist()) == {number, instead}
    others = ~torch.isin(before, torch.tensor(list(HIPPOCAMPUS)))
    assert torch.equal(y.data[others], before[others])
    gone = ((y.data[0] == 5) & hippocampus).nonzero().float()
    assert gone[:, 0].mean() < hippocampus.nonzero()[:, 0].float().mean()  # on the side of the fluid
    core = ((y.data[0] == 17).nonzero().float() - hippocampus.nonzero().float().mean(0)).norm(dim=1)
    assert core.min() < 2  # the middle stays


@pytest.mark.parametrize(("n", "left"), [(5, 2), (7, 4), (1001, 500)])
def test_of_an_odd_structure_as_much_is_left_as_promised(n: int, left: int) -> None:
    x = Volume(torch.zeros(1, 30, 30, 30, dtype=torch.int16), np.eye(4))
    inside = torch.nonzero(torch.ones(11, 11, 11))[:n] + 9
    x.data[0][tuple(inside.T)] = 17
    assert int((shrunken(x, 0.5, structures={17: 5}).data == 17).sum()) == left == round(n * 0.5)


def test_shrinking_names_what_is_wrong() -> None:
    shape = (32, 32, 32)
    x = Volume(torch.zeros(1, *shape, dtype=torch.int16), np.eye(4))
    with pytest.raises(ValueError, match="no label 17"):
        shrunken(x, 0.1)
    with pytest.raises(ValueError, match="share is 1"):
        shrunken(x, 1.0)


def test_a_table_has_its_cells_and_none_that_breaks_it() -> None:
    lines = markdown(["what", "n"], [["a|b\nc", 3], [None, 0.5]]).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines] == [
        ["what", "n"], ["------", "---"], [r"a\|b c", "3"], ["", "0.5"],
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
    with pytest.raises(ValueError, match="2 columns"):
        markdown(["what", "n"], [[1, 2, 3]])


def test_results_are_kept_and_belong_to_one_model(examination, tmp_path: Path) -> None:
    Ledger, run = examination.sheet.Ledger, examination.sheet.run  # noqa: N806
    path, done = tmp_path / "kept.json", []

    def plan(part: str, n: int):
        return iter([(str(k), lambda k=k: done.append(f"{part}{k}") or {"value": k}) for k in range(n)])

    run({"a": plan("a", 2), "b": plan("b", 1)}, Ledger(path, {"model": "x"}), 10)
    assert done == ["a0", "b0", "a1"]  # in turn
    done.clear()
    again = Ledger(path, {"model": "x"})
    run({"a": plan("a", 3), "b": plan("b", 1)}, again, 10)
    assert done == ["a2"]
    assert again.of("a") == {"0": {"value": 0}, "1": {"value": 1}, "2": {"value": 2}}
    run({"b": plan("b", 2)}, again, -1)
    assert done == ["a2"]  # time was over
    one, other = (Ledger(path, {"model": "x"}) for _ in range(2))  # two commands at one time
    one.keep("c/0", {})
    other.keep("d/0", {})
    assert Ledger(path, {"model": "x"}).cases.keys() == {"a/0", "a/1", "a/2", "b/0", "c/0", "d/0"}
    with pytest.raises(SystemExit, match="another model"):
        Ledger(path, {"model": "y"})


def test_a_scan_of_a_painted_head_begins_where_the_head_does(examination) -> None:
    heads = examination.heads
    shape = (64, 80, 64)
    labels = brain(shape, centred(shape, np.eye(3)))
    who = heads.Painted("phantom", labels, None, heads.t1_of(labels))
    for contrast in heads.CONTRASTS:
        scan = heads.scan(who, contrast, 2, 7.0, Random(0))
        extent = np.array(scan.shape) * scan.spacing
        assert (extent <= np.array(shape)).all()
        assert (extent > np.array(shape) - 7).all()
        first = scan.affine[:3, 3] - np.array(scan.spacing) / 2
        np.testing.assert_allclose(first, labels.affine[:3, 3] - 0.5, atol=1e-4)
        assert torch.equal(scan.data, heads.scan(who, contrast, 2, 7.0, Random(0)).data)
    white = who.target.data[0][labels.data[0] == 2]
    assert white.median().item() == pytest.approx(110, abs=0.5)


def test_true_volumes_and_overlaps_are_those_of_the_map(examination) -> None:
    shape = (96, 96, 80)
    labels = brain(shape, centred(shape, np.eye(3)))
    sizes = examination.sheet.true_volumes(labels)
    both = int(((labels.data == 17) | (labels.data == 53)).sum())
    assert sizes["hippocampus"] == pytest.approx(both / 1000)
    assert sizes["brain"] > sizes["white matter"] + sizes["cortex"]
    same = examination.painted.overlaps(labels.data[0], labels.data[0])
    assert set(same.values()) == {1.0}
    moved = examination.painted.overlaps(labels.data[0].roll(3, 0), labels.data[0])
    assert all(moved[name] < 1 for name in same)


def test_atrophy_is_told_among_heads_of_one_map(examination) -> None:
    """One map has twice the hippocampus of the other; measured are the true volumes, or nothing but the map."""
    cases = {}
    for k in range(12):
        ill, size = k // 2 % 2, (8.0, 4.0)[k % 2] * (1 + 0.01 * (k % 5))
        truth = {"hippocampus": size * (0.85 if ill else 1), "brain": 1000.0}
        knows = truth if k % 2 else truth | {"hippocampus": 8.0}
        cases[f"{k}/T1"] = {"map": f"map{k % 2}", "ill": bool(ill), "measured": truth, "true": truth}
        cases[f"{k}/FLAIR"] = {"map": f"map{k % 2}", "ill": bool(ill), "measured": knows, "true": truth}
    rows = {(row.scans[:2], row.measure): row for row in examination.atrophy.rows(cases)}
    (perfect,) = (row for key, row in rows.items() if key[0] == "T1" and "AUROC" in key[1])
    assert (perfect.isomorph, perfect.beside) == ("1.000", "true volumes 1.000")
    (blind,) = (row for key, row in rows.items() if key[0] == "FL" and "AUROC" in key[1])
    assert blind.beside == "true volumes 1.000"
    assert float(blind.isomorph) < 0.9


def test_a_head_without_lesions_in_which_none_is_found_says_nothing_of_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    lesions = __import__("lesions")
    monkeypatch.delitem(sys.modules, "lesions")
    none, known = np.zeros((8, 8, 8), dtype=bool), np.ones((8, 8, 8), dtype=bool)
    some = none.copy()
    some[2:5, 2:5, 2:5] = True
    rows = [lesions.scored(found, truth, known) for found, truth in ((none, none), (some, some), (none, some))]
    assert [row["dice"] for row in rows] == pytest.approx([math.nan, 1, 0], nan_ok=True)
    assert lesions.line(rows).split()[:2] == ["0.50", "0.00"]
