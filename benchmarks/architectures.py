"""Which network is worth its time? All are trained for the same processor time on the same samples; a table.

python benchmarks/architectures.py --folder DIR --corpus CORPUS [--minutes 3] [--only compact unet]
python benchmarks/architectures.py --folder DIR --speed [--threads 2] [--size 96]

The first call makes the samples, then trains what is not trained yet; the second, for a machine that does nothing else,
measures passes that were not measured yet. Both go on where they were ended, and print the table of what is there.
What was found: docs/architectures.md.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import torch
from examination.sheet import Ledger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from variations import CANDIDATES, INPUTS

from isomorph import config
from isomorph.evaluate.metrics import METRICS
from isomorph.evaluate.table import markdown
from isomorph.heap import kept_memory
from isomorph.predict.memory import most_resident, resident
from isomorph.train import corpus
from isomorph.train.loop import OPTIMISERS
from isomorph.train.objective import Objective
from isomorph.train.schedule import learning_rate, update
from isomorph.train.source import Batch, Samples, split

SIZE = 64  # mm, of the samples
CONTRASTS = ("T1", "T2", "FLAIR", "PD")  # of the samples held out
SCORES = ("psnr", "ssim", "ncc")
BRAIN = 0.2  # share of a held-out sample that is brain, at least
SETTLE = 16  # samples from which a batch norm takes its statistics anew: short runs leave it those it was born with


def recipe_of(minutes: float, contrast: str = "") -> config.Recipe:
    """The recipe of the default model, in one stage; of one contrast, if it is named."""
    recipe = config.load("default")
    sets = (f"deform.size=[{SIZE}, {SIZE}, {SIZE}]",)
    only = (f"contrast.tables=['{contrast}']", "contrast.weights=[1.0]", "contrast.random=0.0", "contrast.enhanced=0.0")
    sets += only if contrast else ()
    stage = dataclasses.replace(recipe.training.stages[-1], part="", set=sets)
    settings = dataclasses.replace(recipe.training, stages=(stage,), minutes=minutes, warmup=10)
    return dataclasses.replace(recipe, training=settings)


def make_samples(folder: Path, heads: list[corpus.Head], samples: int, held_out: int) -> None:
    """Write what all are trained on, and what all are tested on, as many of each contrast."""
    recipe = recipe_of(1.0)
    trained, others = split(recipe, heads)
    source = Samples(recipe, trained)
    write((source.make(0, number) for number in range(samples)), folder / "samples.safetensors")
    kept: list[Batch] = []
    for contrast in CONTRASTS:
        source = Samples(recipe_of(1.0, contrast), others)
        tries = (source.make(0, -1 - number) for number in count())
        fit = (sample for sample in tries if (sample.weight >= 1).float().mean() > BRAIN)
        kept += [next(fit) for _ in range(held_out // len(CONTRASTS))]
    write(iter(kept), folder / "held-out.safetensors")


def write(samples: Iterator[Batch], path: Path) -> None:
    """Without labels, which no loss of this recipe asks for."""
    halves = ([tensor.half() for tensor in sample[:3]] for sample in samples)
    stacked = [torch.stack(tensors) for tensors in zip(*halves, strict=True)]
    save_file(dict(zip(("image", "target", "weight"), stacked, strict=True)), path)


def sample(there: dict[str, Tensor], k: int) -> Batch:
    """Sample `k`, from the start again where there are no more."""
    k %= len(there["image"])
    image, target, weight = (there[name][k : k + 1].float() for name in ("image", "target", "weight"))
    return Batch(image.contiguous(memory_format=torch.channels_last_3d), target, weight, torch.empty(0))


def precisely(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def train(name: str, folder: Path, minutes: float, rate: float) -> dict[str, Any]:
    """One candidate, for so many minutes of the processor, in steps as `isomorph.train.loop` takes them; its scores."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe, there = recipe_of(minutes), load_file(folder / "samples.safetensors")
    stage = dataclasses.replace(recipe.training.stages[0], learning_rate=rate)
    settings = dataclasses.replace(recipe.training, stages=(stage,))
    objective = Objective(recipe, torch.device("cpu"), lambda: precisely("bf16"))
    network = CANDIDATES[name]().to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = OPTIMISERS[settings.optimiser](network.parameters(), weight_decay=settings.weight_decay)
    passed, steps, losses = 0.0, 0, []
    while passed < 1:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(steps, settings, passed)
        batch, start = sample(there, steps), time.process_time()
        with precisely("bf16"):
            prediction = network(batch.image)
        loss = objective(stage, prediction, batch)
        loss.backward()
        passed += (time.process_time() - start) / 60 / minutes  # without Muon: of a step as large as a recipe's, little
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
        update(average, network, min(settings.average, steps / (steps + 10)))
        losses.append(loss.item())
    settle(average, there)
    half = {key: value.half().contiguous() for key, value in average.state_dict().items()}
    save_file(half, folder / f"{name.replace(' ', '-')}.safetensors")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    last = statistics.mean(losses[-30:])
    return {"steps": steps, "parameters": parameters, "loss": last, **test(average.eval(), folder)}


@torch.no_grad()
def settle(network: nn.Module, there: dict[str, Tensor]) -> None:
    """Statistics of batch norms, where there are any, as the network is now."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all
    for k in range(SETTLE if norms else 0):
        network.train()(sample(there, k).image)


@torch.inference_mode()
def test(network: nn.Module, folder: Path) -> dict[str, list[float]]:
    """Scores of each sample held out, inside the brain, white matter at 1."""
    there = load_file(folder / "held-out.safetensors")
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    for k in range(len(there["image"])):
        batch = sample(there, k)
        with precisely("bf16"):
            answer = network(batch.image).float()[0, 0]
        for name in SCORES:
            found = METRICS[name](answer, batch.target[0, 0], mask=batch.weight[0, 0] >= 1, data_range=1.0)
            scores[name].append(found)
    return scores


@torch.inference_mode()
def speed(name: str, size: int, threads: int, seconds: float = 2.0) -> dict[str, float]:
    """Seconds of a pass as prediction runs it, and GB that it takes beyond what was held before it; bf16, then fp32."""
    torch.set_num_threads(threads)
    network = CANDIDATES[name]().eval().to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
    x, found, before = torch.rand(1, INPUTS, size, size, size), {}, resident()
    for precision in ("bf16", "fp32"):
        times: list[float] = []
        with kept_memory(), precisely(precision):
            network(x)
            while len(times) < 3 or sum(times) < seconds:
                start = time.perf_counter()
                network(x)
                times.append(time.perf_counter() - start)
        memory = ((most_resident() or math.nan) - before) / 1e9
        found |= {precision: min(times), f"{precision} GB": memory}
    return found


def table(ledger: Ledger) -> str:
    """Best first; on the front is what nothing beats in both quality and time in bf16."""
    trained, fast = ledger.of("trained"), ledger.of("speed")
    first = trained.get("compact") or next(iter(trained.values()), {})
    quality = {name: statistics.mean(case["psnr"]) for name, case in trained.items()}
    lines, quickest = [], math.inf
    for name in sorted(quality, key=lambda name: -quality[name]):
        case, took = trained[name], fast.get(name, {})
        million = case["parameters"] / 1e6
        passes = [f"{took[key]:.2f}" if took else "" for key in ("bf16", "fp32", "bf16 GB", "fp32 GB")]
        front = "yes" if took and took["bf16"] < quickest else ""
        quickest = min(quickest, took.get("bf16", math.inf))
        scores = [f"{quality[name]:.2f}", beside(case, first), contrasts(case)]
        scores += [f"{statistics.mean(case[name]):.3f}" for name in SCORES[1:]]
        lines.append([name, case["steps"], *scores, *passes, f"{million:.2f}", f"{2 * million:.1f}", front])
    header = ("network", "steps", "PSNR (dB)", "beside compact", ", ".join(CONTRASTS), "SSIM", "NCC", "bf16 (s)")
    return markdown((*header, "fp32 (s)", "bf16 (GB)", "fp32 (GB)", "million", "MB", "front"), lines)


def beside(case: dict[str, Any], other: dict[str, Any]) -> str:
    """By how much the PSNR is higher, and the standard error over places, each of which is there in all contrasts."""
    places = len(case["psnr"]) // len(CONTRASTS)
    apart = [a - b for a, b in zip(case["psnr"], other["psnr"], strict=True)]
    mean = [statistics.mean(apart[place::places]) for place in range(places)]
    error = statistics.stdev(mean) / math.sqrt(places) if places > 1 else math.nan
    return f"{statistics.mean(mean):+.2f} ± {error:.2f}"


def contrasts(case: dict[str, Any]) -> str:
    """PSNR of each."""
    n = len(case["psnr"]) // len(CONTRASTS)
    return ", ".join(f"{statistics.mean(case['psnr'][k * n : k * n + n]):.1f}" for k in range(len(CONTRASTS)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for samples, results.json and trained networks")
    parser.add_argument("--corpus", type=Path, help="heads, as `isomorph corpus` prepares them")
    parser.add_argument("--minutes", type=float, default=3.0, help="of one thread, to train each")
    parser.add_argument("--rate", type=float, default=1e-3, help="of learning, at most; the recipe's")
    parser.add_argument("--samples", type=int, default=800, help="to train on; beyond them, from the start again")
    parser.add_argument("--held-out", type=int, default=48, help="to test on, a quarter of each contrast")
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--speed", action="store_true", help="measure passes and train nothing")
    parser.add_argument("--threads", type=int, default=2, help="of a pass that is measured")
    parser.add_argument("--size", type=int, default=96, help="voxels along each axis of a pass that is measured")
    return parser.parse_args()


def main() -> None:
    """Do what is missing, one candidate after the other, each in a process of its own; then print the table."""
    given = arguments()
    given.folder.mkdir(parents=True, exist_ok=True)
    about = {"minutes": given.minutes, "samples": given.samples, "rate": given.rate}
    ledger = Ledger(given.folder / "results.json", about)
    if not (given.folder / "held-out.safetensors").exists():
        torch.set_num_threads(1)
        make_samples(given.folder, corpus.load(given.corpus), given.samples, given.held_out)
    part = "speed" if given.speed else "trained"
    alone = multiprocessing.get_context("forkserver")  # memory is that of a process; libraries are loaded once
    with ProcessPoolExecutor(1, mp_context=alone, max_tasks_per_child=1) as pool:
        for name in (name for name in given.only if f"{part}/{name}" not in ledger.cases):
            if given.speed:
                ledger.keep(f"speed/{name}", pool.submit(speed, name, given.size, given.threads).result())
            else:
                ledger.keep(f"trained/{name}", train(name, given.folder, given.minutes, given.rate))
            print(f"{part} {name}", flush=True)
    print(table(ledger))


if __name__ == "__main__":
    main()
