"""A small network: fast on a plain processor, sharp by construction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, pad, silu

from .context import Context, depth_to_space, eighths, narrow
from .slabs import whole, with_halo
from .tone import through


class Compact(Context):
    """A U-Net on the 2 mm grid that chooses, voxel by voxel, a tone curve for the 1 mm input, and refines the result.

    1. Space-to-depth brings the 1 mm image to a 2 mm grid without losing a voxel.
    2. A U-Net sees the context and says, for each 1 mm voxel, what each input intensity means here (a piecewise
       linear curve with `tones` nodes) and what else is needed (`detail` features).
    3. The curve is applied to the input, so that fine structure passes straight through; two small convolutions at
       1 mm correct what a curve cannot, such as partial volume.

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
        super().__init__(inputs, outputs, features)
        self.tones, self.detail = tones, detail
        self.curves = nn.Conv3d(features[0], 8 * (outputs * tones + detail), 1)
        self.refine = nn.Conv3d(detail + inputs + outputs, detail + 4, 3, padding=1)
        self.correct = nn.Conv3d(detail + 4, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        return self.paint(x, self.context(x))

    def paint(self, x: Tensor, context: Tensor) -> Tensor:
        """The image at 1 mm, of the scan and its context."""
        return with_halo(self._paint, context, x, channels=self.detail + self.inputs + self.outputs)

    def _paint(self, context: Tensor, x: Tensor) -> Tensor:
        """A slab of it: sees one voxel of the context to each side."""
        curves, detail = rows(context, self.curves).split([8 * self.outputs * self.tones, 8 * self.detail], 1)
        # A voxel of 2 mm has its eight of 1 mm in as many channels: there, curves are applied before anything is moved.
        toned = self.tone(eighths(x[:, :1])[:, None].flatten(3), curves.unflatten(1, (-1, 8)).flatten(3))
        toned = depth_to_space(toned.flatten(1, 2).unflatten(2, context.shape[2:]))
        y = beside([narrow(toned), narrow(x), depth_to_space(detail)])
        return toned + thin(silu(self.refine(y), inplace=not whole()), self.correct)

    def grown(self, weights: dict[str, Tensor], places: list[int]) -> dict[str, Tensor]:
        """Weights of a network with fewer inputs as those of this one, which does not listen to the others yet.

        Parameters
        ----------
        weights : dict
            State of a network that differs in its inputs alone.
        places : list of int
            Which of the inputs each of its inputs is here.
        """
        stem = self.stem.weight.detach().clone().zero_()
        stem.unflatten(1, (-1, 8))[:, places] = weights["stem.weight"].unflatten(1, (-1, 8))
        refine = self.refine.weight.detach().clone().zero_()
        toned, seen, detail = weights["refine.weight"].split([self.outputs, len(places), self.detail], 1)
        refine[:, : self.outputs], refine[:, -self.detail :] = toned, detail
        refine[:, [self.outputs + place for place in places]] = seen
        return weights | {"stem.weight": stem, "refine.weight": refine}

    def tone(self, x: Tensor, curves: Tensor) -> Tensor:
        """Apply to each voxel its own piecewise linear curve."""
        return torch.cat([through(x, curve) for curve in curves.to(x.dtype).split(self.tones, 1)], 1)


def beside(parts: list[Tensor]) -> Tensor:
    """Channels of several images together, in the order of memory in which convolutions are fast."""
    if whole():
        return torch.cat(parts, 1)
    size = (parts[0].shape[0], sum(part.shape[1] for part in parts), *parts[0].shape[2:])
    y = torch.empty(size, dtype=parts[0].dtype, device=parts[0].device, memory_format=torch.channels_last_3d)
    return torch.cat(parts, 1, out=y)


def rows(x: Tensor, layer: nn.Conv3d) -> Tensor:
    """A 1x1x1 convolution as one product of matrices, which leaves one channel after the other in memory."""
    assert layer.bias is not None
    weight = layer.weight.flatten(1).expand(len(x), -1, -1)
    return torch.baddbmm(layer.bias[:, None], weight, x.flatten(2)).unflatten(2, x.shape[2:])


def thin(x: Tensor, layer: nn.Conv3d) -> Tensor:
    """A 3x3x3 convolution to few channels, as three within planes: a kernel computes 16 even if one is wanted."""
    weight = layer.weight.permute(2, 0, 1, 3, 4).flatten(0, 1)[:, :, None]  # (3 * outputs, inputs, 1, 3, 3)
    y = pad(conv3d(x, weight, padding=(0, 1, 1)), (0, 0, 0, 0, 1, 1))
    before, here, after = y.split(layer.out_channels, 1)
    y = before[:, :, :-2] + here[:, :, 1:-1] + after[:, :, 2:]
    return y if layer.bias is None else y + layer.bias.view(-1, 1, 1, 1)
