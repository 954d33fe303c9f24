"""The default network: what it is is decided at 2 mm, where it is at 1 mm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate

from .compact import Compact
from .tone import apply_curves, local_curves

NODES = 8  # of a tone curve
WINDOWS = 3  # about 12, 24 and 48 mm wide


class Cascade(nn.Module):
    """A wide network turns the scan, averaged to 2 mm, into a coarse T1; a slim one adds the detail at 1 mm.

    Which contrast a scan has can only be told from much of the head, and needs no fine voxels: the wide network sees
    twice as far at an eighth of the cost. Its answer, compared with the scan, says what each brightness means around
    each place; the scan itself, seen through these tone curves, is as sharp as it was. The slim network is given the
    scan, the coarse answer and what the curves make of it, and starts from there.

    Parameters
    ----------
    inputs, outputs : int
        Channels; tone curves are taken of the first.
    coarse, fine : sequence of int
        Features of the two networks, as for `Compact`.
    tones, detail : int
        As for `Compact`.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        coarse: tuple[int, ...] = (32, 64, 128, 256),
        fine: tuple[int, ...] = (16, 32, 64),
        tones: int = 6,
        detail: int = 8,
    ) -> None:
        super().__init__()
        self.coarse = Compact(inputs, outputs, coarse, tones, detail)
        self.fine = Compact(inputs + outputs + WINDOWS, outputs, fine, tones, detail)
        self.multiple = max(2 * self.coarse.multiple, self.fine.multiple, 2 * 2**WINDOWS)
        for layer in (self.fine.curves, self.fine.correct):  # at first the coarse answer is the answer
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, part: str = "") -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        """Run the network; or, to train its halves apart, 'coarse' alone on an image that is at 2 mm, or all with only
        'fine' to learn."""
        if part == "coarse":
            return self.coarse(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and part != "fine"):
            guess, toned = self.guess(x)
        return (guess + toned[0]) / 2 + self.fine(torch.cat([x, guess, *toned], 1))

    def guess(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarse answer at 1 mm, and what tone curves make of the scan, narrowest window first."""
        small = avg_pool3d(x, 2)
        answer = self.coarse(small).float()  # sums over windows want more digits than bf16 has
        curves = local_curves(small[:, :1].float(), answer[:, :1], nodes=NODES, levels=WINDOWS)
        toned = [apply_curves(x[:, :1].float(), curve) for curve in curves]
        return interpolate(answer, scale_factor=2, mode="trilinear"), toned
