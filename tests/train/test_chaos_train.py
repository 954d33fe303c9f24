"""Killed at any moment, training goes on as if nothing had happened. `make test-chaos`."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import heads

from isomorph import config
from isomorph.train.journal import entries
from isomorph.train.loop import train

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]
KILLS = 20
FARTHEST = 8  # steps that one life may last, or little more
STEPS = 12 * KILLS
RECIPE = config.load(
    "default",
    (
        "network={kind='compact', arguments={inputs=2, features=[4, 8]}}",
        f"training.stages=[{{steps=100, batch=2, loss={{l1=1.0, ssim=0.2}}}}, {{steps={STEPS - 100}}}]",
        "generator.deform.size=[16, 16, 16]",
        "training.precision='fp32'",
        "training.log_every=2",
        "training.save_every=4",
        "training.validate_every=30",
        "training.validate_samples=2",
        "held_out=['held']",
    ),
)


def live(folder: Path, *, resume: bool = True) -> None:
    torch.set_num_threads(1)  # a forked child has no other
    train(RECIPE, heads(), folder, resume=resume, workers=0, report=lambda entry: None)


def born(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def reached(folder: Path) -> int:
    """The last step in the log."""
    path = folder / "log.jsonl"
    return max((entry["step"] for entry in entries(path)), default=0) if path.exists() else 0


def killed_after(child: int, folder: Path, steps: int, seconds: float) -> None:
    goal = reached(folder) + steps
    while steps and reached(folder) < goal and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def curve(folder: Path) -> list[tuple[object, ...]]:
    """Everything that the log says, but for the speed."""
    keys = ("step", "loss", "validation_mae", "validation_psnr")
    return [tuple(entry.get(key) for key in keys) for entry in entries(folder / "log.jsonl")]


def test_killed_twenty_times_it_ends_where_it_would_have(tmp_path: Path) -> None:
    rng, whole, storm = random.Random(0), tmp_path / "whole", tmp_path / "storm"
    live(whole, resume=False)
    lives = []
    for _ in range(KILLS):
        before = reached(storm)
        # Some die before their first step, most somewhere in a step, a save or a validation.
        killed_after(born(lambda: live(storm)), storm, rng.randrange(FARTHEST), rng.uniform(0, 0.1))
        lives.append(reached(storm) - before)
    live(storm)
    print(f"{KILLS} kills; steps of each life: {lives}")

    assert curve(storm) == curve(whole)  # bit for bit: JSON keeps every digit of a float
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, storm))
    assert all(torch.equal(one[key], other[key]) for key in one)
    last = f"checkpoint-{STEPS:07d}.safetensors"
    assert (whole / last).read_bytes() == (storm / last).read_bytes()
    assert not list(storm.glob(".*"))
    assert len(list(storm.glob("checkpoint-*"))) == 6


def test_killed_while_saving_a_checkpoint_always_loads(tmp_path: Path) -> None:
    """Nothing but saves, at the size of a small network: at every instant the newest that counts is whole."""
    from isomorph.nets import build
    from isomorph.train.checkpoint import load_checkpoint, save_checkpoint

    def parts() -> tuple[torch.nn.Module, torch.nn.Module, torch.optim.Optimizer]:
        one, other = (build("compact", {"features": [16, 32]}) for _ in range(2))
        return one, other, torch.optim.AdamW(one.parameters())

    def save_for_ever() -> None:
        torch.set_num_threads(1)
        network, average, optimiser = parts()
        state = load_checkpoint(tmp_path, network, average, optimiser) or {"step": 0}
        for step in range(state["step"] + 1, 1_000_000):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.fill_(step)
            save_checkpoint(tmp_path, {"step": step}, network, average, optimiser)

    rng, newest = random.Random(1), 0
    for _ in range(KILLS):
        killed_after(born(save_for_ever), tmp_path, 0, rng.uniform(0.05, 0.6))
        network, average, optimiser = parts()
        state = load_checkpoint(tmp_path, network, average, optimiser)
        if state is None:
            assert newest == 0
            continue
        assert state["step"] >= newest
        assert all((parameter == state["step"]).all() for parameter in network.parameters())
        newest = state["step"]
    assert newest > KILLS // 2
