"""A small network: fast on a plain processor, sharp by construction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool3d, silu

from .tone import hats


class Compact(nn.Module):
    """A U-Net on the 2 mm grid that chooses, voxel by voxel, a tone curve for the 1 mm input, and refines the result.

    1. Space-to-depth brings the 1 mm image to a 2 mm grid without losing a voxel.
    2. A U-Net sees the context and says, for each 1 mm voxel, what each input intensity means here (a piecewise
       linear curve with `tones` nodes) and what else is needed (`detail` features).
    3. The curve is applied to the input, so that fine structure passes straight through; two small convolutions at
       1 mm correct what a curve cannot, such as partial volume.

    All normalisation is over the channels of one voxel: a patch and a whole head are treated alike, and tiles with a
    sufficient halo give the whole-volume result.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    features : sequence of int
        Width of each level, from the 2 mm grid down.
    tones : int
        Nodes of the tone curve, evenly spaced over normalised intensities 0 to 1.
    detail : int
        Features handed to the refinement.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        features: tuple[int, ...] = (32, 64, 128, 256),
        tones: int = 6,
        detail: int = 8,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(features)
        self.inputs, self.outputs, self.tones, self.detail = inputs, outputs, tones, detail
        self.stem = nn.Conv3d(8 * inputs, features[0], 3, padding=1)
        self.down = nn.ModuleList(Block(a, b) for a, b in zip((features[0], *features[:-1]), features, strict=True))
        self.up = nn.ModuleList(Block(a + b, b) for a, b in zip(features[:0:-1], features[-2::-1], strict=True))
        self.curves = nn.Conv3d(features[0], 8 * (outputs * tones + detail), 1)
        self.refine = nn.Conv3d(detail + inputs + outputs, detail + 4, 3, padding=1)
        self.correct = nn.Conv3d(detail + 4, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        y = self.stem(space_to_depth(x))
        skips = []
        for depth, block in enumerate(self.down):
            y = block(max_pool3d(y, 2) if depth else y)
            skips.append(y)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            y = block(torch.cat([skip, interpolate(y, scale_factor=2)], 1))
        y = depth_to_space(self.curves(y))
        curves, detail = y.split([self.outputs * self.tones, self.detail], 1)
        toned = self.tone(x[:, :1], curves)
        return toned + self.correct(silu(self.refine(torch.cat([toned, x, detail], 1))))

    def tone(self, x: Tensor, curves: Tensor) -> Tensor:
        """Apply to each voxel its own piecewise linear curve."""
        share = hats(x, self.tones)
        return torch.cat([(c * share).sum(1, keepdim=True) for c in curves.split(self.tones, 1)], 1)


class Block(nn.Module):
    """Two 3x3x3 convolutions, each followed by a norm over channels and SiLU; a shortcut past the second."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(inputs, outputs, 3, padding=1), nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = ChannelNorm(outputs), ChannelNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = silu(self.norm1(self.first(x)))
        return x + silu(self.norm2(self.second(x)))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel: no statistic reaches beyond the voxel."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def space_to_depth(x: Tensor) -> Tensor:
    """(N, C, 2I, 2J, 2K) -> (N, 8C, I, J, K)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, i // 2, j // 2, k // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """(N, 8C, I, J, K) -> (N, C, 2I, 2J, 2K)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * i, 2 * j, 2 * k)
