"""Pieces of a segmentation that cannot be part of what they were named after."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

# Of these a head has one piece, or one on each side; ventricles, white matter and cortex may lie in several.
BODIES = frozenset({7, 8, 10, 11, 12, 13, 16, 17, 18, 26, 28})
PART = 0.1  # of the largest piece: what is smaller is an island
AROUND = 3  # mm: as far as the soft border of a piece reaches
TOUCHING = np.ones((3, 3, 3), dtype=bool)  # voxels that share a corner are one piece


def without_islands(shares: Tensor, numbers: list[int]) -> None:
    """Give islands to what else they may be, in place; the shares of a voxel still add up to one.

    Pieces of brain far smaller than the largest become background, with their soft borders: fat of the neck, an eye.
    Within the brain, pieces of a structure that is one body on each side are given to the other classes, in
    the proportion in which the network took them into account.

    Parameters
    ----------
    shares : (C, I, J, K) tensor, 1 mm
        How much of each voxel belongs to each class.
    numbers : list of int
        Left number of each class; 0 is the background.
    """
    ground = numbers.index(0)
    brain = (shares[ground] < 0.5).numpy()
    kept = _large(brain)
    if not np.array_equal(kept, brain):
        near = torch.from_numpy(_wider(kept))
        shares *= near
        shares[ground] += (~near).to(shares.dtype)
    best = shares.argmax(0)
    for k in (k for k, number in enumerate(numbers) if number in BODIES):
        own = (best == k).numpy()
        kept = _large(own)
        island = own & ~kept
        if island.any():
            _given_away(shares, k, torch.from_numpy(_wider(island) & (island | ~_wider(kept))))


def _wider(mask: np.ndarray) -> np.ndarray:
    """With what lies around."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, TOUCHING, iterations=AROUND), dtype=bool)


def _large(mask: np.ndarray) -> np.ndarray:
    """Without the pieces that are much smaller than the largest one."""
    from scipy import ndimage

    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return mask
    box = boxes[0]  # most of an image is air
    found: Any = ndimage.label(mask[box], TOUCHING)
    pieces, count = found
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    large = np.zeros_like(mask)
    large[box] = (sizes >= PART * sizes.max())[pieces]
    return large


def _given_away(shares: Tensor, k: int, where: Tensor) -> None:
    """Take a class out of some voxels and let the others fill them; where there are no others, it stays."""
    before = shares[:, where].float()
    after = before.clone()
    after[k] = 0
    rest = after.sum(0)
    shares[:, where] = torch.where(rest > 0, after / rest, before).to(shares.dtype)
