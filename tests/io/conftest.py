"""A small head on a tilted grid, as a volume and as files."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import torch

from isomorph.volume import Volume


@pytest.fixture(scope="session")
def head():
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 44, 36)], indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid)) / 0.9
    x = np.select([radius < 0.5, radius < 0.85, radius < 1], [1000.0, 700.0, 300.0], 0.0)
    x += np.random.default_rng(0).normal(0, 10, x.shape) * (radius < 1)
    angle = np.deg2rad(12)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [-4, 4, 4.5]
    affine[:3, 3] = [80, -90, -70]
    return Volume(torch.from_numpy(x.astype(np.float32))[None], affine)


@pytest.fixture
def nifti(tmp_path, head):
    """Write the head as NIfTI with another library, header fields changed at will."""

    def make(name="scan.nii.gz", **fields):
        image = nib.Nifti1Image(head.data[0].numpy().astype(np.int16), head.affine)
        image.set_qform(head.affine, 1)
        image.set_sform(head.affine, 1)
        for key, value in fields.items():
            image.header[key] = value
        path = tmp_path / name
        content = image.to_bytes()
        path.write_bytes(gzip.compress(content, 1, mtime=0) if name.endswith(".gz") else content)
        return path

    return make
