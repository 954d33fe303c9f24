"""The U-Net of SynthSR, exactly, so that its published weights can be loaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, interpolate, max_pool3d


class UNet(nn.Module):
    """Five levels, two convolutions each, batch norm after each level, skips taken before it [1]_.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    features : int
        At the first level; doubled at each level.
    levels : int

    References
    ----------
    .. [1] Iglesias et al., NeuroImage 2021, doi:10.1016/j.neuroimage.2021.118206
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, features: int = 24, levels: int = 5) -> None:
        super().__init__()
        width = [features * 2**level for level in range(levels)]
        self.multiple = 2 ** (levels - 1)
        self.down = nn.ModuleList(Level(a, b) for a, b in zip([inputs, *width], width, strict=False))
        self.up = nn.ModuleList(Level(a + b, b) for a, b in zip(width[:0:-1], width[-2::-1], strict=True))
        self.head = nn.Conv3d(features, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        skips = []
        for depth, level in enumerate(self.down):
            x, skip = level(max_pool3d(x, 2) if depth else x)
            skips.append(skip)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x, _ = level(torch.cat([skip, interpolate(x, scale_factor=2)], 1))
        return self.head(x)


class Level(nn.Module):
    """Two 3x3x3 convolutions with ELU, then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """After the norm, and before it: the latter is what the skip connection takes."""
        x = elu(self.second(elu(self.first(x))))
        return self.norm(x), x
