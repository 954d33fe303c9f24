"""Networks that `architectures.py` compares: those of the package, and variations that it does not have."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from isomorph.nets import Cascade, Compact, UNet
from isomorph.nets.compact import rows
from isomorph.nets.context import Block, ChannelNorm, activate, depth_to_space, eighths

INPUTS = 2  # the scan, and which of its voxels were measured


class TonesOnly(Compact):
    """The tone curve is the answer: nothing is added at 1 mm."""

    def _paint(self, context: Tensor, x: Tensor) -> Tensor:
        curves = rows(context, self.curves)[:, : 8 * self.outputs * self.tones]
        toned = self.tone(eighths(x[:, :1])[:, None].flatten(3), curves.unflatten(1, (-1, 8)).flatten(3))
        return depth_to_space(toned.flatten(1, 2).unflatten(2, context.shape[2:]))


class Straight(Block):
    """Without the shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.second(activate(self.first(x), self.norm1)), self.norm2)


class Attention(nn.Module):
    """Each voxel of the coarsest level looks at all others; added, and nothing at first."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.norm, self.heads = ChannelNorm(width), heads
        self.ask, self.answer = nn.Conv3d(width, 3 * width, 1), nn.Conv3d(width, width, 1)
        nn.init.zeros_(self.answer.weight)

    def forward(self, x: Tensor) -> Tensor:
        asked = self.ask(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        seen = scaled_dot_product_attention(*asked.unbind(1))
        return x + self.answer(seen.transpose(-1, -2).flatten(1, 2).unflatten(2, x.shape[2:]))


class FineStem(nn.Module):
    """Two convolutions from 1 mm to the 2 mm grid, in the place of one that sees eighths as channels."""

    def __init__(self, inputs: int, outputs: int, between: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, between, 3, padding=1)
        self.second = nn.Conv3d(between, outputs, 3, padding=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # (N, 8 * inputs, I, J, K), as space-to-depth gives it
        return self.second(silu(self.first(depth_to_space(x))))


def separable(layer: nn.Conv3d) -> nn.Module:
    """A convolution of each channel by itself, then one of channels."""
    a, b = layer.in_channels, layer.out_channels
    return nn.Sequential(nn.Conv3d(a, a, 3, padding=1, groups=a), nn.Conv3d(a, b, 1))


def factorised(layer: nn.Conv3d) -> nn.Module:
    """A convolution within planes, then one across them."""
    a, b = layer.in_channels, layer.out_channels
    return nn.Sequential(nn.Conv3d(a, b, (1, 3, 3), padding=(0, 1, 1)), nn.Conv3d(b, b, (3, 1, 1), padding=(1, 0, 0)))


def with_layers(change: Callable[[nn.Conv3d], nn.Module]) -> Compact:
    """The network `compact` with other convolutions in its blocks."""
    network = Compact(INPUTS)
    for block in (*network.down, *network.up):
        block.first, block.second = change(block.first), change(block.second)  # pyright: ignore
    return network


def straight() -> Compact:
    """The network `compact` without shortcuts in its blocks."""
    network = Compact(INPUTS)
    for level in (network.down, network.up):
        for k, block in enumerate(level):
            level[k] = Straight(block.first.in_channels, block.first.out_channels)  # pyright: ignore
    return network


def attentive() -> Compact:
    """The network `compact` with attention at the bottom."""
    network = Compact(INPUTS)
    network.down[-1] = nn.Sequential(network.down[-1], Attention(256))
    return network


def with_fine_stem() -> Compact:
    """The network `compact` with a stem at 1 mm."""
    network = Compact(INPUTS)
    network.stem = FineStem(INPUTS, network.stem.out_channels)  # pyright: ignore
    return network


CANDIDATES: dict[str, Callable[[], nn.Module]] = {
    "compact": lambda: Compact(INPUTS),  # what the others are compared with, so it is trained first
    "narrow": lambda: Compact(INPUTS, features=(16, 32, 64, 128)),
    "shallow": lambda: Compact(INPUTS, features=(32, 64, 128)),
    "unet": lambda: UNet(INPUTS),
    "wide": lambda: Compact(INPUTS, features=(48, 96, 192, 384)),
    "detail only": lambda: Compact(INPUTS, tones=1),  # a curve of one node is a value
    "factorised": lambda: with_layers(factorised),
    "attention": attentive,
    "tones only": lambda: TonesOnly(INPUTS),
    "cascade": lambda: Cascade(INPUTS, scans=1),
    "deep": lambda: Compact(INPUTS, features=(32, 64, 128, 256, 256)),
    "separable": lambda: with_layers(separable),
    "fine stem": with_fine_stem,
    "no shortcut": straight,
}
