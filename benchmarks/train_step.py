"""How fast is a training step, and how much of the processor does it use? A table; on a GPU if there is one.

python benchmarks/train_step.py [--sizes 64 96] [--networks cascade unet] [--precision bf16] [--device cpu]

Samples are made beforehand, so that the network alone is measured; TFLOP/s counts the multiplications and additions of
its convolutions, forward and backward, as torch.utils.flop_counter does. Memory is the peak: on a GPU of what was
allocated, on a processor of the whole process, of which each row has its own.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import torch
from torch.utils.flop_counter import FlopCounterMode

from isomorph.losses import LOSSES
from isomorph.nets import NETWORKS, build
from isomorph.predict.memory import most_resident
from isomorph.train.schedule import update


class Step:
    """One step as `isomorph.train.loop` takes it: forward, loss, backward, clip, optimiser, average."""

    def __init__(self, network: str, size: int, batch: int, device: torch.device, precision: str) -> None:
        self.network = build(network, {}).to(device, memory_format=torch.channels_last_3d)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.network.parameters())
        shape = (batch, 1, size, size, size)
        self.image = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last_3d)
        self.target, self.weight = torch.rand(shape, device=device), torch.ones(shape, device=device)
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        self.autocast = torch.autocast(device.type, kind, enabled=precision != "fp32")

    def __call__(self) -> None:
        with self.autocast:
            prediction = self.network(self.image)
        LOSSES["l1"](prediction.float(), self.target, self.weight).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        update(self.average, self.network, 0.999)


def measure(step: Step, device: torch.device, seconds: float) -> dict[str, float]:
    """Speed of a step after two to warm up, the work that it does, and the memory that it wants."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with FlopCounterMode(display=False) as counter:
        step()
    step()
    wait()
    start, steps = time.perf_counter(), 0
    while steps < 3 or time.perf_counter() - start < seconds:
        step()
        wait()
        steps += 1
    elapsed = (time.perf_counter() - start) / steps
    flops = counter.get_total_flops()
    held = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else most_resident()
    memory = (held or math.nan) / 1e9
    return {"steps": 1 / elapsed, "work": flops / 1e12, "speed": flops / elapsed / 1e12, "memory": memory}


def row(network: str, size: int, given: argparse.Namespace) -> str:
    """A line of the table."""
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    step = Step(network, size, given.batch, device, given.precision)
    million = sum(parameter.numel() for parameter in step.network.parameters()) / 1e6
    found = measure(step, device, given.seconds)
    numbers = f"{found['steps']:8.3f} {found['work']:7.3f} {found['speed']:8.3f} {found['memory']:6.2f}"
    return f"{network:10s} {million:8.2f} {size:5d} {numbers}"


def main() -> None:
    """Print the table."""
    there = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=sorted(NETWORKS), choices=sorted(NETWORKS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[96, 128, 160] if there.type == "cuda" else [32, 64])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default=str(there))
    parser.add_argument("--precision", default="bf16" if there.type == "cuda" else "fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    given = parser.parse_args()
    threads = given.threads or torch.get_num_threads()
    name = torch.cuda.get_device_name() if given.device.startswith("cuda") else f"CPU, {threads} threads"
    print(f"{name}, {given.precision}, batch {given.batch}, torch {torch.__version__}")
    print(f"{'network':10s} {'million':>8s} {'size':>5s} {'steps/s':>8s} {'TFLOP':>7s} {'TFLOP/s':>8s} {'GB':>6s}")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for network in given.networks:
            for size in given.sizes:
                print(pool.submit(row, network, size, given).result(), flush=True)


if __name__ == "__main__":
    main()
