"""The default network: what it is is decided at 2 mm, where it is at 1 mm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate

from .compact import Compact


class Cascade(nn.Module):
    """A wide network turns the scan, averaged to 2 mm, into a coarse T1; a slim one adds the detail at 1 mm.

    Which contrast a scan has can only be told from much of the head, and needs no fine voxels: the wide network sees
    twice as far at an eighth of the cost. The slim one is told the answer and starts from it.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
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
        self.fine = Compact(inputs + outputs, outputs, fine, tones, detail)
        self.multiple = max(2 * self.coarse.multiple, self.fine.multiple)
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
            guess = interpolate(self.coarse(avg_pool3d(x, 2)), scale_factor=2, mode="trilinear")
        return guess + self.fine(torch.cat([x, guess], 1))
