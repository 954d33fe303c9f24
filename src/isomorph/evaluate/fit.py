"""Images beside each other and the truth, whatever the scale of each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..similarity import RADIUS
from .metrics import METRICS


def fitted(image: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """An image after the linear map of intensities that brings it nearest to a reference: its scale decides nothing.

    Parameters
    ----------
    image, reference : (I, J, K) tensors
    mask : (I, J, K) tensor of bool
        Where it is to be near.
    """
    a, b = image[mask].double(), reference[mask].double()
    slope = ((a - a.mean()) * (b - b.mean())).sum() / (a - a.mean()).square().sum().clamp(min=1e-12)
    return (slope * (image - a.mean()) + b.mean()).float()


def compared(
    images: Mapping[str, Tensor], reference: Tensor, mask: Tensor, *, data_range: float
) -> dict[str, dict[str, float]]:
    """Every metric of every image, each after its linear map onto the reference.

    Parameters
    ----------
    images : name to (I, J, K) tensor
    reference : (I, J, K) tensor
    mask : (I, J, K) tensor of bool
        Voxels that count.
    data_range : float
        Distance between the lowest and the highest value that is possible, such as 110 for white matter at 110.
    """
    box = _around(mask)
    y, inside, found = reference[box], mask[box], {}
    for name, image in images.items():
        near = fitted(image[box], y, inside)
        found[name] = {metric: score(near, y, mask=inside, data_range=data_range) for metric, score in METRICS.items()}
    return found


def _around(mask: Tensor) -> tuple[slice, ...]:
    """All that any metric looks at: the voxels that count, and as far around them as windows reach."""
    index = torch.nonzero(mask)
    low, high = ((edge.tolist()) for edge in (index.amin(0) - RADIUS, index.amax(0) + 1 + RADIUS))
    return tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))
