"""What a small network sees: a U-Net on the 2 mm grid, whatever is made of it at 1 mm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool3d, silu

from .slabs import slabs, whole, with_halo


class Context(nn.Module):
    """Space-to-depth brings a 1 mm image to a 2 mm grid without losing a voxel; a U-Net sees it there.

    All normalisation is over the channels of one voxel: a patch and a whole head are treated alike, and tiles with a
    sufficient halo give the whole-volume result.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    features : sequence of int
        Width of each level, from the 2 mm grid down.
    """

    def __init__(self, inputs: int, outputs: int, features: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** len(features)
        self.inputs, self.outputs = inputs, outputs
        self.stem = nn.Conv3d(8 * inputs, features[0], 3, padding=1)
        self.down = nn.ModuleList(Block(a, b) for a, b in zip((features[0], *features[:-1]), features, strict=True))
        self.up = nn.ModuleList(Block(a + b, b) for a, b in zip(features[:0:-1], features[-2::-1], strict=True))

    def context(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, features[0], I / 2, J / 2, K / 2)
        """What the U-Net sees, on the 2 mm grid."""
        y = self.stem(space_to_depth(narrow(x)))
        skips = []
        for depth, block in enumerate(self.down):
            y = block(max_pool3d(y, 2) if depth else y)
            skips.append(y)
        del y  # what nobody holds is freed
        for block in self.up:
            skips.append(upward(block, skips.pop(), skips.pop()))
        return skips[0]

    def held(self, width: int) -> float:
        """Bytes for each voxel that a pass holds at most, without slabs, numbers of the network being `width` bytes."""
        features = self.stem.out_channels / 8 * width  # on the 2 mm grid
        stem = self.inputs * width * 2 + max(self.inputs * width, features)  # moved in two steps, then convolved
        return 4 * self.inputs + max(stem, 3 * features, 2 * features + 4 * self.outputs)


class Block(nn.Module):
    """Two 3x3x3 convolutions, each followed by a norm over channels and SiLU; a shortcut past the second."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(inputs, outputs, 3, padding=1), nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = ChannelNorm(outputs), ChannelNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.first(x), self.norm1)
        return activate(self.second(x), self.norm2, x)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel: no statistic reaches beyond the voxel."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def upward(block: Callable[[Tensor], Tensor], below: Tensor, skip: Tensor) -> Tensor:
    """Two convolutions of a level and what comes from the level below, never whole: it is the widest of all."""

    def level(below: Tensor, skip: Tensor) -> Tensor:
        return block(torch.cat([skip, interpolate(below, scale_factor=2)], 1))

    third = (below.shape[1] + skip.shape[1]) // 3  # slabs may be larger here: what is cut is computed twice
    return with_halo(level, below, skip, channels=third)


def activate(x: Tensor, norm: nn.Module, shortcut: Tensor | None = None) -> Tensor:
    """SiLU of a normalised image, added to `shortcut`; in place of `x` where no gradient needs it."""
    if whole():
        x = silu(norm(x))
        return x if shortcut is None else shortcut + x
    for planes in slabs(x):
        part = silu(norm(x[:, :, planes]), inplace=True)
        x[:, :, planes] = part if shortcut is None else part.add_(shortcut[:, :, planes])
    return x


def narrow(x: Tensor) -> Tensor:
    """To the precision that convolutions run in: rounded before it is moved, not after."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def eighths(x: Tensor) -> Tensor:
    """(N, C, 2I, 2J, 2K) -> (N, 8C, I, J, K), one channel after the other in memory."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, i // 2, j // 2, k // 2)


def space_to_depth(x: Tensor) -> Tensor:
    """(N, C, 2I, 2J, 2K) -> (N, 8C, I, J, K), in the order of memory in which convolutions are fast."""
    # Each step by itself: both at once take three times as long.
    if whole() or x.element_size() != 2:
        return eighths(x).contiguous(memory_format=torch.channels_last_3d)
    n, c, i, j, _ = x.shape
    pairs = x.contiguous().view(torch.int32)  # neighbours along the last axis, which stay together, as one number
    pairs = pairs.reshape(n, c, i // 2, 2, j // 2, 2, -1).permute(0, 1, 3, 5, 2, 4, 6).flatten(1, 3)
    return pairs.movedim(1, -1).contiguous().view(x.dtype).movedim(-1, 1)


def depth_to_space(x: Tensor) -> Tensor:
    """(N, 8C, I, J, K) -> (N, C, 2I, 2J, 2K)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * i, 2 * j, 2 * k)
