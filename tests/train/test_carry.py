"""Lesions of patients in other heads: optional, said in one line, and in the right place."""

import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from phantoms import save
from safetensors.torch import save as tensors

from isomorph.errors import SetupError
from isomorph.train import carry, corpus
from isomorph.volume import Volume


def test_without_masks_nothing_is_carried_and_one_line_says_so(tmp_path):
    said = []
    assert carry.carrier(tmp_path / "lesions", report=said.append) is None
    assert len(said) == 1
    assert "lesions/*.nii.gz" in said[0]


@pytest.mark.parametrize("library", ["ants", "nilearn.datasets"])
def test_without_a_library_nothing_is_carried_and_one_line_says_so(library, tmp_path, monkeypatch):
    if library != "ants":
        pytest.importorskip("ants")
    (tmp_path / "a.nii.gz").touch()
    monkeypatch.setitem(sys.modules, library, None)
    said = []
    assert carry.carrier(tmp_path, report=said.append) is None
    assert len(said) == 1
    assert "pip install" in said[0]


def test_masks_are_kept_with_their_head(tmp_path):
    labels = Volume(torch.full((1, 6, 7, 8), 2, dtype=torch.int16), np.diag([1.0, 1, 1, 1]))
    masks = labels.with_data(torch.arange(6 * 7 * 8).view(1, 6, 7, 8).to(torch.uint8))
    head = corpus.Head("a", labels, None, masks)
    corpus._write(head, tmp_path / "a.safetensors")
    (read,) = corpus.load(tmp_path)
    assert torch.equal(read.lesions.data, masks.data)
    corpus._write(replace(head, lesions=None), tmp_path / "a.safetensors")
    assert corpus.load(tmp_path)[0].lesions is None


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_damaged_head_is_one_line_that_names_it(cut, tmp_path):
    path = tmp_path / "a.safetensors"
    labels = Volume(torch.full((1, 6, 7, 8), 2, dtype=torch.int16), np.eye(4))
    corpus._write(corpus.Head("a", labels, None), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SetupError, match=r"E902 .*a\.safetensors is damaged.*prepare again"):
        corpus.load(tmp_path)


def test_a_file_without_an_affine_is_no_head(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(tensors({"labels": torch.zeros(1, 2, 2, 2)}))
    with pytest.raises(SetupError, match="E902"):
        corpus.load(tmp_path)


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_every_bit_of_a_head_is_a_patient(count):
    masks = [torch.zeros(1, 11, 1, 1, dtype=torch.uint8) for _ in range(count)]
    for number, mask in enumerate(masks):
        mask[0, number] = 1
    bits = carry._bits("a", masks)
    found = [((bits >> bit) & 1).flatten().nonzero().flatten().tolist() for bit in range(carry.PATIENTS)]
    assert all(len(patient) == 1 for patient in found)
    assert len({patient[0] for patient in found}) == min(count, carry.PATIENTS)


def test_preparing_without_masks_still_prepares(tmp_path):
    labels = torch.zeros(1, 30, 30, 30)
    labels[:, 8:22, 8:22, 8:22] = 3
    labels[:, 10:20, 10:20, 10:20] = 2
    (tmp_path / "data" / "labels").mkdir(parents=True)
    save(Volume(labels, np.eye(4)), tmp_path / "data" / "labels" / "a.nii.gz")
    said = []
    corpus.prepare(tmp_path / "data", tmp_path / "corpus", report=said.append)
    assert [line.split()[0] for line in said] == ["no", "prepared"]
    assert corpus.load(tmp_path / "corpus")[0].lesions is None


def test_masks_follow_the_brain_to_which_the_template_is_registered(monkeypatch, tmp_path):
    """The same ball with a dent, elsewhere: the mask of the dent lands in the dent."""
    pytest.importorskip("ants")
    datasets = pytest.importorskip("nilearn.datasets")
    grid = torch.stack(torch.meshgrid(*[torch.arange(48.0) - 23.5] * 3, indexing="ij")) * 3
    radius = (grid / torch.tensor([50.0, 62.0, 45.0]).view(3, 1, 1, 1)).norm(dim=0)
    dent = (grid - torch.tensor([20.0, 30.0, 15.0]).view(3, 1, 1, 1)).norm(dim=0) < 14
    brain = (radius < 1).float() + (radius < 0.7).float() - 0.7 * dent
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = -70.5
    image = nibabel.Nifti1Image(brain.numpy(), affine)
    monkeypatch.setattr(datasets, "load_mni152_template", lambda resolution: image)
    for k in range(carry.PATIENTS):  # a patient with the lesion, others with none
        save(Volume(dent.float()[None] * (k == 3), affine), tmp_path / f"{k}.nii.gz")
    elsewhere = affine.copy()
    elsewhere[:3, 3] += [9.0, -6.0, 12.0]
    labels = Volume(torch.where(brain > 0, 2, 0).to(torch.int16)[None], elsewhere)
    carried = carry.carrier(tmp_path, report=lambda line: None)("a", labels, Volume(brain[None], elsewhere))
    there = carried.data[0]
    assert carried.data.dtype == torch.uint8
    assert there.unique().numel() == 2  # one bit
    both = ((there > 0) & dent).sum() * 2 / ((there > 0).sum() + dent.sum())
    assert both > 0.85  # a voxel of 3 mm off: 0.84; not registered: 0.2
