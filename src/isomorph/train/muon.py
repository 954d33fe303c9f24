"""Steps that are as long in every direction: momentum made orthogonal, for the kernels of convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from ..device import computes_in_bf16

MOMENTUM = 0.95
SIZE = 0.2  # root mean square of a step over the learning rate: about that of Adam, so that one rate serves both
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # drives singular values into 0.7 to 1.2 soonest, Jordan et al. 2024
SMALLEST = 8  # rows or columns: a narrower kernel has no directions to even out


class Muon(AdamW):
    """AdamW for vectors and narrow kernels, orthogonalised momentum for the others [1]_ [2]_.

    A network that has to find out what a contrast is learns it in about half the steps: Adam's steps follow the few
    directions in which gradients are large. PyTorch's own Muon takes matrices alone; a kernel is one,
    outputs by (inputs x voxels).

    Parameters
    ----------
    params, lr, weight_decay
        As for `torch.optim.AdamW`.

    References
    ----------
    .. [1] Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024
    .. [2] Liu et al., Muon is scalable for LLM training, 2025, arXiv:2502.16982
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step."""
        kernels = [(group, p, p.grad) for group in self.param_groups for p in group["params"] if _is_kernel(p)]
        for _, p, _ in kernels:
            p.grad = None  # AdamW passes over what has no gradient
        loss = super().step(closure)
        for group, p, gradient in kernels:
            p.grad = gradient
            state = self.state[p]
            if not state:
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(p)}  # AdamW looks for a step count
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            ahead = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(orthogonal(ahead).view_as(p), alpha=-group["lr"] * SIZE * max(ahead.shape) ** 0.5)
        return loss


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal matrix nearest to a given one, by Newton and Schulz's iteration: no decomposition.

    Parameters
    ----------
    matrix : (m, n) tensor

    Returns
    -------
    (m, n) tensor
        Singular values between about 0.7 and 1.2.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + torch.finfo(x.dtype).tiny)
    x = x.bfloat16() if computes_in_bf16(x.device) else x  # imitated: 20 times as long
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    x = x.to(matrix.dtype)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _is_kernel(p: Tensor) -> bool:
    return p.grad is not None and p.ndim > 2 and min(p.shape[0], p[0].numel()) > SMALLEST
