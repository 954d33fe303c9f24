from random import Random

import numpy as np
import pytest
import torch

from isomorph.volume import Volume


@pytest.fixture
def rng() -> Random:
    return Random(0)


@pytest.fixture
def head() -> Volume:
    """Nested ellipsoids: skin, bone, fluid, cortex, white matter, and a left hippocampus; 1 mm, RAS."""
    size = torch.tensor([48, 52, 44])
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, int(n)) for n in size], indexing="ij"))
    radius = grid.norm(dim=0)
    labels = torch.zeros(48, 52, 44)
    for limit, number in ((0.95, 511), (0.85, 515), (0.78, 24), (0.72, 3), (0.55, 2)):
        labels[radius < limit] = number
    right = grid[0] > 0
    labels[(labels == 3) & right], labels[(labels == 2) & right] = 42, 41
    labels[(grid - torch.tensor([-0.3, 0, 0]).view(3, 1, 1, 1)).norm(dim=0) < 0.15] = 17
    affine = np.eye(4)
    affine[:3, 3] = [-24, -20, -30]
    return Volume(labels[None], affine)


@pytest.fixture
def image(head) -> Volume:
    """A smooth positive image on the same grid."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, n) for n in head.shape], indexing="ij"))
    return head.with_data((grid.sum(0, keepdim=True) / 3 * (head.data > 0)).float())
