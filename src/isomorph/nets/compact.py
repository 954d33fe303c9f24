"""A small network: fast on a plain processor, sharp by construction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, interpolate, max_pool3d, pad, silu

from .slabs import slabs, whole, with_halo
from .tone import through


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
        return self.paint(x, self.context(x))

    def context(self, x: Tensor) -> Tensor:  # -> (N, features[0], I / 2, J / 2, K / 2)
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

    def paint(self, x: Tensor, context: Tensor) -> Tensor:
        """The image at 1 mm, of the scan and its context."""
        return with_halo(self._paint, context, x, channels=self.detail + self.inputs + self.outputs)

    def _paint(self, context: Tensor, x: Tensor) -> Tensor:
        """A slab of it: sees one voxel of the context to each side."""
        curves, detail = self.curves(context).split([8 * self.outputs * self.tones, 8 * self.detail], 1)
        # A voxel of 2 mm holds its eight of 1 mm side by side: there, curves are applied before anything is moved.
        eight = space_to_depth(x[:, :1]).unflatten(1, (1, 8)).flatten(4)
        toned = self.tone(eight, curves.unflatten(1, (-1, 8)).flatten(4))
        toned = depth_to_space(toned.flatten(1, 2).unflatten(3, context.shape[3:]))
        y = beside([narrow(toned), narrow(x), depth_to_space(detail)])
        return toned + thin(silu(self.refine(y)), self.correct)

    def held(self, width: int) -> float:
        """Bytes for each voxel that a pass holds at most, without slabs, numbers of the network being `width` bytes."""
        features = self.stem.out_channels / 8 * width  # on the 2 mm grid
        stem = self.inputs * 2 * width + features
        return 4 * self.inputs + max(stem, 3 * features, 2 * features + 4 * self.outputs)

    def tone(self, x: Tensor, curves: Tensor) -> Tensor:
        """Apply to each voxel its own piecewise linear curve."""
        return torch.cat([through(x, curve) for curve in curves.to(x.dtype).split(self.tones, 1)], 1)


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
        part = silu(norm(x[:, :, planes]))
        x[:, :, planes] = part if shortcut is None else part.add_(shortcut[:, :, planes])
    return x


def narrow(x: Tensor) -> Tensor:
    """To the precision that convolutions run in: rounded before it is moved, not after."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def beside(parts: list[Tensor]) -> Tensor:
    """Channels of several images together, in the order of memory in which convolutions are fast."""
    if whole():
        return torch.cat(parts, 1)
    size = (parts[0].shape[0], sum(part.shape[1] for part in parts), *parts[0].shape[2:])
    y = parts[0].new_empty(size).contiguous(memory_format=torch.channels_last_3d)
    return torch.cat(parts, 1, out=y)


def thin(x: Tensor, layer: nn.Conv3d) -> Tensor:
    """A 3x3x3 convolution to few channels, as three within planes: a kernel computes 16 even if one is wanted."""
    weight = layer.weight.permute(2, 0, 1, 3, 4).flatten(0, 1)[:, :, None]  # (3 * outputs, inputs, 1, 3, 3)
    y = pad(conv3d(x, weight, padding=(0, 1, 1)), (0, 0, 0, 0, 1, 1))
    before, here, after = y.split(layer.out_channels, 1)
    y = before[:, :, :-2] + here[:, :, 1:-1] + after[:, :, 2:]
    return y if layer.bias is None else y + layer.bias.view(-1, 1, 1, 1)


def space_to_depth(x: Tensor) -> Tensor:
    """(N, C, 2I, 2J, 2K) -> (N, 8C, I, J, K)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(n, i // 2, j // 2, k // 2, 8 * c).movedim(-1, 1)


def depth_to_space(x: Tensor) -> Tensor:
    """(N, 8C, I, J, K) -> (N, C, 2I, 2J, 2K)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * i, 2 * j, 2 * k)
