"""A head that needs no download, on any grid, and files of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from isomorph.volume import Volume

LESION = np.array([-14.0, 6.0, 4.0])  # mm: on the left, in front, above
CARD = {"white_matter": 1.0, "licence": "CC0-1.0", "data": "none: random weights"}  # of a model, beside its network


def head(world: np.ndarray) -> np.ndarray:
    """Nested ellipsoids about the origin, some 60 mm across, with a bright lesion on the left; (..., 3) mm -> (...)."""
    radius = np.linalg.norm(world / np.array([26.0, 30.0, 24.0]), axis=-1)
    image = np.zeros(world.shape[:-1])
    for edge, value in ((1.0, 300.0), (0.88, 60.0), (0.8, 500.0), (0.6, 800.0), (0.2, 120.0)):
        image = np.where(radius < edge, value, image)
    return np.where(np.linalg.norm(world - LESION, axis=-1) < 5, 1000.0, image)


def world_of(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Centre of each voxel, (I, J, K, 3) in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def centred(shape: tuple[int, ...], matrix: np.ndarray) -> np.ndarray:
    """Affine that puts the middle of the grid at the origin."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ ((np.array(shape) - 1) / 2)
    return affine


def scan(shape: tuple[int, int, int] = (64, 72, 12), matrix: np.ndarray | None = None) -> Volume:
    """The head on any grid; by default 5 mm axial slices."""
    affine = centred(shape, np.diag([1.0, 1.0, 5.0]) if matrix is None else matrix)
    noise = np.random.default_rng(0).normal(0, 2, shape)
    return Volume(torch.tensor(head(world_of(shape, affine)) + noise, dtype=torch.float32)[None], affine)


def orientations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All 48: an order of the axes and a sign for each."""
    return list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def turned(volume: Volume, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same scan stored in another orientation; by numpy alone, so that it can judge `isomorph.space`."""
    array, affine = volume.data[0].numpy(), volume.affine.copy()
    array, affine[:, :3] = array.transpose(order), affine[:, list(order)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    return Volume(torch.tensor(array.copy())[None], affine)


def save(volume: Volume, path: Path) -> Path:
    """By nibabel alone, with both qform and sform."""
    image = nib.Nifti1Image(volume.data[0].numpy(), volume.affine)
    image.set_qform(volume.affine, 1)
    image.set_sform(volume.affine, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path
