"""The default network: what lies between the slices, what each brightness is, and where it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate, pad

from ..space import pooled
from .compact import Compact
from .residual import Residual
from .slabs import with_halo
from .tone import apply_curves, local_curves, local_lines

NODES = 8  # of a tone curve
WINDOWS = 3  # about 12, 24 and 48 mm wide
SHARES = (0.35, 0.35, 0.1, 0.1, 0.1)  # of the coarse answer, of each window and of the line, before training


class Cascade(nn.Module):
    """Three networks, each with one question, trained one after the other.

    1. *Sharp*, at 1 mm: what would this scan look like with thin slices and without noise? Whatever its contrast is,
       the answer is close to the scan, and little context is needed.
    2. *Coarse*, at 2 mm: what does each brightness mean? Which contrast a scan has can only be told from much of the
       head, and needs no fine voxels: a wide network sees twice as far at an eighth of the cost.
    3. *Fine*, at 1 mm: the coarse T1, compared with the sharp scan, gives tone curves around each place, and a line for
       scans that are a T1 already; the scan seen through these is a T1 as sharp as the scan. The slim network chooses
       between them, place by place, and adds what none of them has.

    Of several scans of one exam the first is the reference: it alone is made sharp and lends its detail. The others are
    heard at 2 mm, and registration is as good as such voxels.

    Parameters
    ----------
    inputs, outputs : int
        Channels; the first of the inputs is the scan, which is made sharp and of which tone curves are taken.
    scans : int
        How many of the inputs are scans; the others say where these were measured, in the same order. 0: all are scans.
    sharp, coarse, fine : sequence of int
        Features of the three networks, as for `Compact`.
    tones, detail : int
        As for `Compact`.
    """

    parts = ("sharp", "coarse", "fine")  # that can be trained alone

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        sharp: tuple[int, ...] = (24, 48, 96),
        coarse: tuple[int, ...] = (32, 64, 128, 256),
        fine: tuple[int, ...] = (16, 32, 64),
        tones: int = 6,
        detail: int = 8,
        scans: int = 0,
    ) -> None:
        super().__init__()
        self.scans = scans or inputs
        own = 2 if inputs > self.scans else 1  # the reference, and where it was measured
        difference = Compact(own, 1, sharp, tones, detail)
        self.sharp = Residual(difference, [0])
        self.coarse = Compact(inputs, outputs, coarse, tones, detail)
        self.fine = Compact(own + outputs + WINDOWS + 1, outputs, fine, tones, detail)
        self.choose = nn.Conv3d(fine[0], len(SHARES), 1)
        nn.init.zeros_(self.choose.weight)
        with torch.no_grad():
            self.choose.bias.copy_(torch.tensor([math.log(share) for share in SHARES]))  # pyright: ignore[reportOptionalMemberAccess]
        self.multiple = max(self.fine.multiple, self.sharp.multiple, 2 * 2**WINDOWS)
        for network in (difference, self.fine):  # at first the scan is sharp, the coarse answer the answer
            for layer in (network.curves, network.correct):
                nn.init.zeros_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, part: str = "") -> Tensor:  # (N, inputs, I, J, K) -> (N, outputs, I, J, K)
        """Run the network; or, to train it in parts: 'sharp' gives the sharp scan, 'coarse' its answer to an image that
        is at 2 mm, 'fine' is all, with only the last network to learn."""
        if part == "sharp":
            return self.sharp(self.reference(x))
        if part == "coarse":
            return self.coarse(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and part != "fine"):
            x = self.sharpened(x)
            guess = self.guess(x)
        return self.refine(self.reference(x), guess)

    def both_ways(self, x: Tensor, axis: int) -> Tensor:
        """The answer to a scan and to its mirror image, averaged where they differ: in what a brightness means. What
        looks a few voxels far needs no second opinion, and takes most of the time.

        Parameters
        ----------
        x : (N, inputs, I, J, K) tensor
        axis : int
            Of `x`, from left to right.
        """
        x = self.sharpened(x)
        return self.refine(self.reference(x), (self.guess(x) + self.guess(x.flip(axis)).flip(axis)) / 2)

    def reference(self, x: Tensor) -> Tensor:
        """The first scan, and where it was measured."""
        return x if self.scans == 1 else torch.cat([x[:, :1], x[:, self.scans : self.scans + 1]], 1)

    def sharpened(self, x: Tensor) -> Tensor:
        """All inputs, the reference made sharp."""
        return torch.cat([self.sharp(self.reference(x)), x[:, 1:]], 1)

    def grown(self, weights: dict[str, Tensor], scans: int) -> dict[str, Tensor]:
        """Weights of a cascade for fewer scans as those of this one, which does not listen to the others yet.

        Parameters
        ----------
        weights : dict
            State of a cascade that differs in its inputs alone, and has reliability maps if this one has.
        scans : int
            Those that it takes.
        """
        places = [*range(scans), *range(self.scans, self.coarse.inputs - self.scans + scans)]
        name = "coarse."
        old = {key.removeprefix(name): x for key, x in weights.items() if key.startswith(name)}
        return weights | {name + key: x for key, x in self.coarse.grown(old, places).items()}

    def guess(self, x: Tensor) -> Tensor:
        """The coarse answer to a sharp scan, at 2 mm."""
        small = torch.cat([avg_pool3d(x[:, : self.scans], 2), pooled(x[:, self.scans :], 2)], 1)
        beyond = [-n % self.coarse.multiple for n in small.shape[2:]]  # air
        answer = self.coarse(pad(small, [side for n in beyond[::-1] for side in (n // 2, n - n // 2)])).float()
        i, j, k = (slice(n // 2, n // 2 + size) for n, size in zip(beyond, small.shape[2:], strict=True))
        return answer[:, :, i, j, k]  # float: sums over windows want more digits than bf16 has

    def refine(self, x: Tensor, guess: Tensor) -> Tensor:
        """The answer at 1 mm, of the sharp scan and the coarse answer."""
        toned = self.toned(x[:, :1].float(), guess[:, :1])
        guess = interpolate(guess, scale_factor=2, mode="trilinear")
        seen = torch.cat([x, guess, *toned], 1)
        context = self.fine.context(seen)
        mixed = with_halo(self.mix, context, guess, *toned, channels=3 * len(SHARES))
        return torch.cat([mixed, guess[:, 1:]], 1) + self.fine.paint(seen, context)

    def toned(self, x: Tensor, guess: Tensor) -> list[Tensor]:
        """What tone curves and a line make of the scan, narrowest window first."""
        small = avg_pool3d(x, 2)
        curves = local_curves(small, guess, nodes=NODES, levels=WINDOWS)
        return [apply_curves(x, curve) for curve in (*curves, local_lines(small, guess, levels=WINDOWS))]

    def mix(self, context: Tensor, guess: Tensor, *toned: Tensor) -> Tensor:
        """Of the coarse answer and what each window makes of the scan, what the slim network trusts."""
        shares = interpolate(self.choose(context).float().softmax(1), scale_factor=2, mode="trilinear")
        return (shares * torch.cat([guess[:, :1], *toned], 1)).sum(1, keepdim=True)

    def held(self, width: int) -> float:
        """Bytes for each voxel that a pass holds at most, without slabs, numbers of the network being `width` bytes."""
        scan, answer = 4 * self.coarse.inputs, 4 * self.coarse.outputs
        parts = 2 * scan + answer + 4 * (WINDOWS + 1)  # of what the fine network is given, which is a copy
        return max(self.sharp.held(width), parts + self.fine.held(width) + 2 * answer)
