"""How long the steps are, and how long they are remembered."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..config import Training


def learning_rate(step: int, settings: Training, passed: float = 0.0) -> float:
    """In each stage: a linear rise, then half a cosine down to `final`.

    Parameters
    ----------
    step : int
        Counted from 0.
    settings : Training
    passed : float
        Share of the minutes, where there are minutes: the cosine follows the clock, and the rise the steps.
    """
    stage, done = settings.at(step)
    risen = done * stage.steps
    if settings.minutes:
        risen, done = step, min(passed, 1.0)
    cosine = settings.final + (1 - settings.final) * (1 + math.cos(math.pi * done)) / 2
    return stage.learning_rate * min(1.0, (risen + 1) / max(settings.warmup, 1)) * cosine


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; statistics of norms are copied."""
    for a, b in zip(average.parameters(), network.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for a, b in zip(average.buffers(), network.buffers(), strict=True):
        a.copy_(b)
