"""Samples to look at: whole files, the same for the same seed, never over something else."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isomorph import config
from isomorph.errors import NothingFound, Refusal, UsageError
from isomorph.generate import generate
from isomorph.train.corpus import available
from isomorph.volume import Volume

pytest.importorskip("matplotlib")
SMALL = ("generator.deform.size=[24, 24, 24]", "held_out=[]", "weights={}")
TWO = (*SMALL, "generator.channels=[{}, {slices={thick=1.0, blurred=0.0}}]", "generator.reliability=true")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    labels = torch.zeros(1, 30, 32, 28, dtype=torch.int16)
    labels[:, 4:-4, 4:-4, 4:-4], labels[:, 9:-9, 9:-9, 9:-9] = 3, 2
    meta = {"affine": json.dumps(np.eye(4).tolist())}
    for name in ("one", "two"):
        save_file({"labels": labels}, folder / f"{name}.safetensors", metadata=meta)
    return folder


def silent(line):
    pass


def test_files_of_a_sample(corpus, tmp_path):
    sheet = generate("default", tmp_path, n=2, seed=3, data=corpus, changes=TWO, report=silent)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 9
    image = nib.load(tmp_path / "sample-0001_image.nii.gz")
    assert image.shape == (24, 24, 24, 4)
    assert nib.load(tmp_path / "sample-0001_labels.nii.gz").get_data_dtype() == np.int16
    about = json.loads((tmp_path / "sample-0001.json").read_text())
    assert (about["seed"], about["sample"], about["recipe"]) == (3, 1, "default")
    # What the JSON says is enough to make the sample again.
    head = available(corpus)[about["head"]]()
    plan = config.load("default", TWO)
    again = plan.generator.replay(head.labels, head.target, about["draws"])
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), again.image.data.movedim(0, -1).numpy())


def test_same_seed_same_files_and_sample_k_does_not_depend_on_n(corpus, tmp_path):
    for folder, n, seed in (("a", 2, 5), ("b", 1, 5), ("c", 1, 6)):
        generate("default", tmp_path / folder, n=n, seed=seed, data=corpus, changes=SMALL, report=silent)
    for part in ("_image.nii.gz", "_target.nii.gz", "_labels.nii.gz", ".json"):
        a, b, c = ((tmp_path / folder / f"sample-0000{part}").read_bytes() for folder in "abc")
        assert a == b != c


def test_nothing_is_replaced_without_a_word(corpus, tmp_path):
    (tmp_path / "sample-0001.json").write_text("mine")
    with pytest.raises(Refusal, match=r"E705 sample-0001.json exists already"):
        generate("default", tmp_path, n=2, data=corpus, changes=SMALL, report=silent)
    assert len(list(tmp_path.iterdir())) == 1
    generate("default", tmp_path, n=2, data=corpus, changes=SMALL, report=silent, overwrite=True)
    assert json.loads((tmp_path / "sample-0001.json").read_text())["sample"] == 1


def test_mistakes_are_found_before_the_work(corpus, tmp_path):
    with pytest.raises(UsageError, match="give a number from 1"):
        generate("default", tmp_path, n=0, data=corpus)
    with pytest.raises(NothingFound, match="no prepared heads"):
        generate("default", tmp_path / "new", data=tmp_path)
    with pytest.raises(UsageError, match="none of the 2 heads"):
        generate("default", tmp_path, data=corpus, changes=("held_out=['one', 'two']",))


def test_a_segmentation_is_shown_the_heads_that_it_is_trained_on(corpus, tmp_path):
    """Heads cut into levels of brightness name no structures, and are passed over, as in training."""
    levels = torch.full((1, 30, 32, 28), 720, dtype=torch.int16)
    meta = {"affine": json.dumps(np.eye(4).tolist())}
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a", "b", "c"):
        save_file({"labels": levels}, folder / f"{name}.safetensors", metadata=meta)
    with pytest.raises(
        UsageError, match="none of 3 heads names structures, which a segmentation learns; give label maps"
    ):
        generate("segmenter", tmp_path / "none", n=1, data=folder, changes=SMALL, report=silent)
    (folder / "one.safetensors").write_bytes((corpus / "one.safetensors").read_bytes())
    generate("segmenter", tmp_path / "out", n=3, data=folder, changes=SMALL, report=silent)
    for k in range(3):
        assert json.loads((tmp_path / "out" / f"sample-000{k}.json").read_text())["head"] == "one"


def test_nobody_is_shown_in_the_head_of_someone_held_out(corpus, tmp_path):
    """As in training."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    one = available(corpus)["one"]().labels.data
    for name, lender in (("held", ""), ("of_held", "held"), ("other", "one")):
        meta = {"affine": json.dumps(np.eye(4).tolist()), "lender": lender}
        save_file({"labels": one}, folder / f"{name}.safetensors", metadata=meta)
    options = {"data": folder, "changes": (*SMALL, "held_out=['held']"), "report": silent}
    generate("default", tmp_path / "out", n=6, **options)
    assert {json.loads(path.read_text())["head"] for path in (tmp_path / "out").glob("*.json")} == {"other"}
    (folder / "other.safetensors").unlink()
    with pytest.raises(UsageError, match="each of 1 scans wears the head of a map that is held out"):
        generate("default", tmp_path / "none", n=1, **options)


def test_a_name_is_drawn_as_it_is(corpus, tmp_path):
    """Between two $ matplotlib would read a formula, after all samples are drawn."""
    folder, lines = tmp_path / "odd", []
    folder.mkdir()
    (folder / "a$\\bad$\n.safetensors").write_bytes((corpus / "one.safetensors").read_bytes())
    sheet = generate("default", tmp_path / "out", n=1, data=folder, changes=SMALL, report=lines.append)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert lines[0].startswith("sample-0000: a$\\bad$\\n, 24 x 24")


def test_a_brain_without_labels_is_cut_into_levels():
    from isomorph.train.corpus import levelled

    x = torch.zeros(1, 30, 30, 30)
    for edge, value in ((3, 30.0), (4, 70.0), (7, 110.0)):
        x[:, edge:-edge, edge:-edge, edge:-edge] = value
    x += torch.rand(x.shape) * (x > 0)
    head = levelled("one", Volume(x, np.eye(4)))
    assert set(head.labels.data.unique().tolist()) == {0, 705, 712, 720}
    assert head.target.data.max().item() == pytest.approx(1.0, abs=0.01)
