"""A brain whose structures, sides and sizes are known, on any grid, tilted as wanted; and a network that sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from phantoms import CARD, world_of

from isomorph.nets import NETWORKS
from isomorph.structures import STRUCTURES, class_table
from isomorph.volume import Volume
from isomorph.weights import save_model

CLASSES = (0, 2, 4, 10, 16, 3)  # of the network of known behaviour: few, so that it is soon run
# Ellipsoids in mm: number on the left or in the middle, centre (its side is given), half axes.
SHAPES = (
    (3, (33, 0, 8), (33, 78, 58)),
    (2, (31, 0, 8), (25, 66, 46)),
    (8, (24, -50, -52), (24, 26, 20)),
    (7, (20, -50, -52), (13, 15, 10)),
    (4, (12, 5, 16), (7, 28, 10)),
    (11, (17, 18, 12), (6, 14, 9)),
    (12, (28, 8, 4), (7, 16, 9)),
    (10, (12, -12, 6), (8, 14, 9)),
    (17, (27, -18, -14), (6, 19, 6)),
)
MIDDLE = ((16, (0, -24, -40), (13, 12, 26)), (14, (0, -6, 4), (3, 12, 9)), (15, (0, -42, -40), (5, 6, 8)))


def turn(yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rotation about the superior, then the anterior axis, in degrees."""
    a, b = np.radians(yaw), np.radians(roll)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_s @ np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])


def parcels(
    world: np.ndarray, *, shrink: float = 1.0, without: str = "", only: tuple[int, ...] = STRUCTURES
) -> np.ndarray:
    """FreeSurfer numbers at places of a straight head, (..., 3) mm -> (...).

    Parameters
    ----------
    world : array
    shrink : float
        Of all that is on the right, as a factor on its size: a head that is not symmetric.
    without : {"", "left", "right"}
        A side whose cerebrum is missing.
    only : tuple of int
        Structures that there are.
    """
    labels = np.zeros(world.shape[:-1], dtype=np.int16)
    opposite = {3: 42, 2: 41, 8: 47, 7: 46, 4: 43, 11: 50, 12: 51, 10: 49, 17: 53}
    for number, centre, axes in SHAPES:
        for side, name in ((-1, "left"), (1, "right")):
            if number not in only or (name == without and number not in (7, 8)):
                continue
            at, size = np.array(centre) * (side, 1, 1), np.array(axes) * (shrink if side > 0 else 1.0)
            inside = (((world - at) / size) ** 2).sum(-1) < 1
            inside &= world[..., 0] * side > 0
            labels[inside] = number if side < 0 else opposite[number]
    for number, centre, axes in (shape for shape in MIDDLE if shape[0] in only):
        labels[(((world - np.array(centre)) / np.array(axes)) ** 2).sum(-1) < 1] = number
    return labels


def brain(
    shape: tuple[int, ...],
    affine: np.ndarray,
    *,
    pose: np.ndarray | None = None,
    shift: tuple[float, ...] = (0, 0, 0),
    **how: Any,
) -> Volume:
    """The numbers on a grid; the head is turned by `pose`, then moved by `shift` mm."""
    world = (world_of(shape, affine) - np.array(shift)) @ (np.eye(3) if pose is None else pose)
    return Volume(torch.from_numpy(parcels(world, **how))[None], affine)


def soft(labels: Volume) -> Volume:
    """A sure segmentation: one at the class of each voxel, (C, I, J, K)."""
    index = class_table(STRUCTURES)[labels.data[0].long()]
    return labels.with_data(torch.nn.functional.one_hot(index, len(STRUCTURES)).movedim(-1, 0).half())


def level(labels: torch.Tensor) -> torch.Tensor:
    """Brightness of each of `CLASSES`, 0 to 1: all differ, background is 0, and cortex, of which there is most, 1."""
    return class_table(CLASSES)[labels.long()].float() / (len(CLASSES) - 1)


def finder_file(path: Path, *, inputs: int = 1) -> Path:
    """A model that calls lesion what is brighter than three quarters of the window of a scan."""
    arguments = {"inputs": inputs, "outputs": 2, "features": [2, 2], "tones": 5, "detail": 1}
    curves = torch.tensor([[20.0, 20.0, 20.0, 0.0, -20.0], [-20.0, -20.0, -20.0, 0.0, 20.0]])
    card = {"name": path.stem, "kind": "segmentation", "labels": [0, 77], "reliability": inputs == 2}
    return _read_off(path, curves, arguments, card)


def network_file(path: Path) -> Path:
    """A model that reads which of `CLASSES` it is off the brightness that `level` gives it."""
    n = len(CLASSES)
    arguments = {"features": [2, 2], "outputs": n, "tones": 2 * n - 1, "detail": 1}
    curves = torch.full((n, 2 * n - 1), -20.0)
    curves[range(n), range(0, 2 * n, 2)] = 20.0
    return _read_off(path, curves, arguments, {"name": path.stem, "kind": "segmentation", "labels": list(CLASSES)})


def _read_off(path: Path, curves: torch.Tensor, arguments: dict[str, Any], card: dict[str, Any]) -> Path:
    """A model whose outputs are these tone curves of its (first) input."""
    network = NETWORKS["compact"](**arguments)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.curves.bias.view(-1, 8)[: curves.numel()] = curves.flatten()[:, None]
    save_model(path, network, card | {"network": "compact", "arguments": arguments, **CARD}, half=False)
    return path
