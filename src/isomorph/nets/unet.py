"""The U-Net of SynthSR, exactly, so that its published weights can be loaded."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, interpolate, max_pool3d

from .context import upward
from .slabs import whole, with_halo


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
        self.inputs, self.features, self.outputs = inputs, features, outputs
        self.head = nn.Conv3d(features, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        if self.training:
            return self._whole(x)
        skips = []
        for level in cast("list[Level]", list(self.down)):
            x = with_halo(level.before, pooled(*skips[-1]) if skips else x, channels=self.features, halo=2)
            skips.append((x, level.norm))
        x, norm = skips.pop()
        x = norm(x)
        for level in self.up[:-1]:
            x = upward(lambda x, level=level: level(x)[0], x, skips.pop()[0])
        return upward(lambda x: self.head(self.up[-1](x)[0]), x, skips.pop()[0])

    def held(self, width: int) -> float:
        """Bytes for each voxel that a pass holds at most, without slabs, numbers of the network being `width` bytes."""
        wide = 1 + 2 / 8 + 9 / 10  # first level, the one below, and, as measured, what convolutions keep for themselves
        return 4 * self.inputs + width * (self.features * wide + self.outputs)

    def _whole(self, x: Tensor) -> Tensor:
        """For training: batch norm takes its statistics of all planes."""
        skips = []
        for depth, level in enumerate(self.down):
            x, skip = level(max_pool3d(x, 2) if depth else x)
            skips.append(skip)
        for level, skip in zip(self.up, skips[-2::-1], strict=True):
            x, _ = level(torch.cat([skip, interpolate(x, scale_factor=2)], 1))
        return self.head(x)


def pooled(x: Tensor, norm: nn.Module) -> Tensor:
    """Normalised, then the largest of eight."""
    return with_halo(lambda x: max_pool3d(norm(x), 2), x, channels=x.shape[1], halo=0)


class Level(nn.Module):
    """Two 3x3x3 convolutions with ELU, then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """After the norm, and before it: the latter is what the skip connection takes."""
        x = self.before(x)
        return self.norm(x), x

    def before(self, x: Tensor) -> Tensor:
        """What the norm is given, and the skip connection."""
        again = not whole()  # nobody else needs what the convolution gave
        return elu(self.second(elu(self.first(x), inplace=again)), inplace=again)
