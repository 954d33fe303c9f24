"""Preparing heads: who lends a head to whom, who may be trained on, and where everything lies."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import save
from safetensors.torch import load_file
from safetensors.torch import save as tensors
from small import head, small
from typer.testing import CliRunner

from isomorph import cli
from isomorph.errors import SetupError, UsageError
from isomorph.labels import CLUSTER, brain_mask
from isomorph.space import resample
from isomorph.train import corpus, loop, run, whole
from isomorph.train.card import card
from isomorph.train.corpus import MARGIN, Head
from isomorph.train.source import split
from isomorph.volume import Volume


def whole_head(name, move=0.0):
    """Skin around cortex, white matter and a ventricle; elsewhere by some mm."""
    labels, affine = head(name).labels.data, np.eye(4)
    affine[2, 3] = move
    return Volume(torch.where(labels == 24, 3, labels), affine)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two maps of whole heads and two skull-stripped scans in the same place; nothing is registered or corrected."""
    monkeypatch.setattr(corpus, "bias_corrected", lambda x: x)
    monkeypatch.setattr(
        whole, "warped", lambda _, to, maps: [resample(x, to.shape, to.affine, mode="nearest") for x in maps]
    )
    for folder in ("labels", "t1"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name in ("a", "b"):
        save(whole_head(name), tmp_path / "data" / "labels" / f"{name}.nii.gz")
    for name in ("s", "t"):
        brain = brain_mask(whole_head(name).data)
        level = 100 * (0.2 + torch.rand(brain.shape, generator=torch.Generator().manual_seed(0)))  # of all tissues
        save(Volume(level * brain, np.eye(4)), tmp_path / "data" / "t1" / f"{name}.nii.gz")
    return tmp_path / "data"


def prepared(data, out="corpus", **options):
    return {h.name: h for h in corpus.load(corpus.prepare(data, data.parent / out, **options))}


def test_a_scan_wears_the_head_of_a_map_and_says_whose(data):
    heads = prepared(data)
    assert {h.lender for h in heads.values() if h.target} <= {"a", "b"}
    assert {h.lender for h in heads.values() if not h.target} == {""}
    scan, lender = heads["s"], heads["a"]  # the two maps are alike
    skin = resample(lender.labels, scan.labels.shape, scan.labels.affine, mode="nearest").data == 511
    worn = scan.labels.data == 511
    assert skin[worn].all()
    assert worn.sum() > 0.5 * skin.sum()  # but for the fluid around the brain
    assert (scan.target.data[worn] > 0.1).all()
    assert scan.labels.data.max() >= CLUSTER


@pytest.mark.parametrize(("spare", "lender"), [("a", "b"), ("b", "a")])
def test_a_map_to_be_held_out_lends_nothing(spare, lender, data):
    heads = prepared(data, spare=spare.__eq__)
    assert {heads[name].lender for name in ("s", "t")} == {lender}


@pytest.mark.parametrize(("elsewhere", "lender"), [("a", "b"), ("b", "a")])
def test_where_one_head_does_not_fit_another_is_tried(elsewhere, lender, data):
    save(whole_head(elsewhere, move=15.0), data / "labels" / f"{elsewhere}.nii.gz")
    said = []
    heads = prepared(data, report=said.append)
    assert {heads[name].lender for name in ("s", "t")} == {lender}
    assert not any("skull-stripped" in line for line in said)


def test_a_scan_that_fits_nowhere_stays_as_it_is_and_a_line_says_so(data):
    for name in ("a", "b"):
        save(whole_head(name, move=15.0), data / "labels" / f"{name}.nii.gz")
    said = []
    stays(prepared(data, report=said.append)["s"])
    assert [line for line in said if line.startswith("s ")] == [
        "s stays skull-stripped: it fits into the head of no label map"
    ]


def test_what_a_map_calls_lesion_of_one_side_is_one_where_it_is_thick():
    labels = torch.full((1, 20, 20, 20), 2, dtype=torch.int16)
    labels[:, 5] = 25  # a layer
    labels[:, 10:14, 10:14, 10:14] = 25
    labels[:, 10, 14, 14] = 25  # a tip of it
    found = corpus._told_apart(labels)
    assert (found[:, 5] == 25).all()
    assert (found[:, 10:14, 10:14, 10:14] == 77).all()
    assert found[0, 10, 14, 14] == 25
    assert (found == 77).sum() == 4**3
    assert ((found == 2) == (labels == 2)).all()


def stays(scan):
    assert scan.lender == ""
    assert set(scan.labels.data[~brain_mask(scan.labels.data)].tolist()) == {0}
    assert not scan.target.data[scan.labels.data == 0].any()


def test_where_none_lends_a_scan_stays_as_it_is_and_a_line_says_so(data):
    said = []
    stays(prepared(data, spare=["a", "b"].__contains__, report=said.append)["s"])
    assert sum(line.startswith("s stays skull-stripped") for line in said) == 1


def test_a_map_of_a_brain_lends_nothing(data):
    for name in ("a", "b"):
        labels = whole_head(name)
        save(labels.with_data(labels.data * brain_mask(labels.data)), data / "labels" / f"{name}.nii.gz")
    stays(prepared(data)["s"])


def test_a_map_that_lends_nothing_is_read_once(data, monkeypatch):
    labels = whole_head("a")
    save(labels.with_data(labels.data * brain_mask(labels.data)), data / "labels" / "a.nii.gz")
    brains = prepared(data)  # which scans of both names are set into b
    assert {brains[name].lender for name in ("s", "t")} == {"b"}
    for name in "opqr":
        (data / "t1" / f"{name}.nii.gz").write_bytes((data / "t1" / "s.nii.gz").read_bytes())
    opened, read = [], corpus._read
    monkeypatch.setattr(corpus, "_read", lambda path: opened.append(path.stem) or read(path))
    corpus.prepare(data, data.parent / "corpus")
    assert opened.count("a") == 1
    assert opened.count("b") == 4


def older(data, *names):
    """These heads as a version prepared them that lent none."""
    for name in names:
        path = data.parent / "corpus" / f"{name}.safetensors"
        path.write_bytes(tensors(load_file(path), metadata={"affine": json.dumps(np.eye(4).tolist())}))


def test_a_line_counts_the_scans_that_an_older_version_left_stripped(data):
    prepared(data)
    older(data, "a", "s", "t")
    said, before = [], (data.parent / "corpus" / "s.safetensors").read_bytes()
    prepared(data, report=said.append)
    assert said == ["2 scans stay skull-stripped, as an older version prepared them; choose a new folder for them"]
    assert (data.parent / "corpus" / "s.safetensors").read_bytes() == before


def test_nothing_is_said_where_no_head_could_be_lent(data):
    said = []
    prepared(data)
    prepared(data, report=said.append)
    older(data, "s", "t")
    prepared(data, spare=lambda _: True, report=said.append)
    assert said == []


@pytest.mark.parametrize(
    ("folder", "value", "message"),
    [
        ("labels", 511, "c.nii.gz holds no label of a brain; take it out of labels/"),
        ("t1", 0, "c.nii.gz holds no brain, nothing above 0; take it out of t1/"),
    ],
)
def test_a_file_without_a_brain_is_one_line(folder, value, message, data):
    save(Volume(torch.full((1, 8, 8, 8), float(value)), np.eye(4)), data / folder / "c.nii.gz")
    with pytest.raises(UsageError, match=message):
        prepared(data)


def test_who_lends_does_not_depend_on_the_other_scans(data):
    both = prepared(data)
    (data / "t1" / "s.nii.gz").unlink()
    assert prepared(data, "one")["t"].lender == both["t"].lender


@pytest.mark.parametrize(
    ("said", "lender"),
    [
        ("held_out = ['a', 'not there']", "b"), ("held_out = ['b']", "a"),
        ("weights = {a = 0.0}", "b"), ("weights = {b = 0.0, a = 0.1}", "a"),
    ],
)  # fmt: skip
def test_the_recipe_says_which_maps_lend_nothing(said, lender, data, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"name = 'mine'\n{said}\n")
    done = CliRunner().invoke(cli.app, ["corpus", str(data), str(tmp_path / "out"), "--recipe", str(recipe)])
    assert done.exit_code == 0, done.output
    assert {h.lender for h in corpus.load(tmp_path / "out") if h.target} == {lender}


def test_an_unknown_recipe_is_refused_before_the_work(data, tmp_path):
    done = CliRunner().invoke(cli.app, ["corpus", str(data), str(tmp_path / "out"), "--recipe", "none"])
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_not_there_is_told_before_heads_are_prepared(data, tmp_path):
    with pytest.raises(UsageError, match=r"held_out names \['d'\], which the corpus does not hold; choose from .*a, "):
        run.run("default", data, tmp_path / "run", changes=("held_out=['a', 'd']",))
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_told_before_heads_are_prepared(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(SetupError, match=r"E905 training needs accelerate; .*type: pip install '\.\[train\]'"):
        run.run("default", data, tmp_path / "run", changes=("held_out=[]",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("held", "lender"), [("a", "b"), ("b", "a")])
def test_training_on_a_folder_that_is_not_prepared_spares_what_it_holds_out(held, lender, data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "train", lambda plan, heads, out, **options: heads)
    heads = run.run("default", data, tmp_path / "run", changes=(f"held_out=['{held}']",))
    assert {h.lender for h in heads if h.target} == {lender}


def test_nobody_is_trained_on_in_the_head_of_someone_held_out():
    heads = [head("a"), head("held"), replace(head("s", real=True), lender="a")]
    heads.append(replace(head("t", real=True), lender="held"))
    trained, kept = split(small("default"), heads)
    assert [h.name for h in trained] == ["a", "s"]
    assert [h.name for h in kept] == ["held"]


@pytest.mark.parametrize("other", ["sub-07_T1w", "sub-07_ses-2_T1w"])
def test_nobody_is_trained_on_by_another_name(other):
    said = [head("a"), head("sub-07"), head("sub-070", real=True), head(other, real=True)]
    plan = replace(small("default"), held_out=("sub-07",))
    with pytest.raises(UsageError, match=rf"\['{other}'\] are of people whom held_out names otherwise"):
        split(plan, said)
    assert [h.name for h in split(replace(plan, held_out=("sub-07", other)), said)[0]] == ["a", "sub-070"]
    assert len(split(replace(plan, weights={other: 0.0}), said)[1]) == 1  # never drawn


def borrowing(*lenders):
    """Two maps, and scans in the heads of others."""
    return [head("a"), head("held"), *(replace(head(f"s{k}", real=True), lender=x) for k, x in enumerate(lenders))]


def test_nobody_is_trained_on_in_the_head_of_someone_never_drawn():
    plan = replace(small("default"), weights={"b": 0.0})
    assert [h.name for h in split(plan, borrowing("a", "b", ""))[0]] == ["a", "s0", "s2"]


def test_who_is_passed_over_for_a_head_is_counted():
    said = []
    split(small("default"), borrowing("a", "held", "held"), report=said.append)
    assert said == ["2 scans wear the head of a map that is held out or never drawn, and are passed over"]
    split(small("default"), borrowing("a"), report=said.append)
    assert len(said) == 1


def test_a_run_says_it(tmp_path, monkeypatch):
    class Ended(Exception):
        pass

    def end(*given, **options):
        raise Ended

    monkeypatch.setattr(loop, "Run", end)
    told = []
    with pytest.raises(Ended):
        loop.train(small("default"), borrowing("held"), tmp_path, report=told.append)
    assert told == [{"note": "1 scans wear the head of a map that is held out or never drawn, and are passed over"}]


@pytest.mark.parametrize(("lenders", "why"), [(("held",), "1 scans wear the head of a map"), ((), "see held_out")])
def test_where_nobody_is_left_it_says_why(lenders, why):
    plan = replace(small("default"), held_out=("a", "held"))
    with pytest.raises(UsageError, match=why):
        split(plan, borrowing(*lenders))


@pytest.mark.parametrize(
    ("lender", "data"), [("", "1 map, 2 scan"), ("map_1", "1 map, 2 scan"), ("other-3", "1 map, 1 other, 2 scan")]
)
def test_who_lent_a_head_counts_among_the_data_of_a_card(lender, data):
    scans = [replace(head(name, real=True), lender=lender) for name in ("scan_1", "scan_2")]
    assert card(small("default"), [head("map_1"), *scans], 1, 1.0, {}, "fp32")["data"] == data


def test_someone_held_out_may_wear_any_head():
    heads = [head("a"), replace(head("held", real=True), lender="a")]
    trained, kept = split(small("default"), heads)
    assert [h.name for h in trained] == ["a"]
    assert [h.name for h in kept] == ["held"]


def test_the_lender_is_kept_with_its_head(tmp_path):
    one = head("one")
    corpus._write(replace(one, lender="two"), tmp_path / "one.safetensors")
    corpus._write(one, tmp_path / "three.safetensors")
    assert {h.name: h.lender for h in corpus.load(tmp_path)} == {"one": "two", "three": ""}


def test_heads_prepared_before_they_were_lent_are_read(tmp_path):
    affine = "[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]"
    content = tensors({"labels": torch.full((1, 4, 4, 4), 2, dtype=torch.int16)}, metadata={"affine": affine})
    (tmp_path / "old.safetensors").write_bytes(content)
    assert corpus.load(tmp_path)[0].lender == ""


@pytest.mark.parametrize("edge", [3, MARGIN + 9])
def test_around_the_brain_there_is_room_for_a_head_and_no_more(edge):
    """Air where the image ends before, and cut off where it goes on; a voxel stays where it is in the world."""
    labels = torch.full((1, 40 + 2 * edge, 42 + 2 * edge, 44 + 2 * edge), 511, dtype=torch.int16)
    labels[:, edge:-edge, edge:-edge, edge:-edge] = 2
    labels[0, edge + 5, edge + 7, edge + 11] = 17
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -3.0, 20.0, 7.0
    x = Volume(labels, affine)
    cropped = corpus._cropped(Head("a", x, x.with_data((labels == 17).half())))
    assert cropped.labels.shape == tuple(n + 2 * MARGIN for n in (40, 42, 44))
    assert cropped.target.shape == cropped.labels.shape
    for part, wanted in ((cropped.labels, 17), (cropped.target, 1)):
        (where,) = np.argwhere(part.data[0].numpy() == wanted)
        world = part.affine[:3, :3] @ where + part.affine[:3, 3]
        np.testing.assert_array_equal(world, affine[:3, 3] + edge + np.array([5, 7, 11]))
    assert (cropped.labels.data == 2).sum() == 40 * 42 * 44 - 1
    assert cropped.labels.data[0, 0, 0, 0] == (0 if edge < MARGIN else 511)
    assert cropped.labels.data.dtype == torch.int16
    assert cropped.target.data.dtype == torch.float16


def test_a_lender_that_is_damaged_is_one_line(data):
    prepared(data)
    for name in ("a", "b"):
        (data.parent / "corpus" / f"{name}.safetensors").write_bytes(b"")
    (data.parent / "corpus" / "s.safetensors").unlink()
    with pytest.raises(SetupError, match="E902"):
        corpus.prepare(data, data.parent / "corpus")
