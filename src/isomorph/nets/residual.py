"""A network that says what to add, not what to see: for super-resolution most of the answer is in the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Adds input channels to the outputs of a network [1]_.

    Parameters
    ----------
    network : nn.Module
    channels : sequence of int
        The input channel that each output is added to, in order; further outputs, such as an uncertainty, stay as
        they are.

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """

    def __init__(self, network: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.network, self.channels = network, list(channels)
        self.multiple = network.multiple

    def forward(self, x: Tensor, part: str = "") -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        y = self.network(x, part) if part else self.network(x)
        n = len(self.channels)
        return torch.cat([x[:, self.channels] + y[:, :n], y[:, n:]], 1)

    def held(self, width: int) -> float:
        """Bytes for each voxel that a pass holds at most, numbers of the network being `width` bytes."""
        held: float = self.network.held(width)  # pyright: ignore[reportCallIssue]
        return held + 12 * len(self.channels)
