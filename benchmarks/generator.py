"""How long does a training sample take, beside other packages that make images from label maps? A table of one run.

python benchmarks/generator.py LABELS.nii.gz [--sizes 96 128] [--threads 1] [--repeats 3] [--recipe default]

LABELS is a label map with the numbers of `isomorph.labels`, or a head that `isomorph corpus` prepared. Each package
begins with the same map in memory and makes one image and one label map of the size asked for, with its own defaults:
all deform, paint, apply a bias field, blur and add noise, but for torchio, whose transform only paints. cornucopia and
torchio are measured where they are installed (`pip install cornucopia torchio`). The best of the repeats counts, in
seconds of the clock and, on a processor, in seconds of one core: the latter do not depend on what else it has to do.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from isomorph import config
from isomorph.space import window
from isomorph.train.corpus import available
from isomorph.volume import Volume

SIZES = (96, 128, 160, 192)
Maker = Callable[[int], object]


def main() -> None:
    """Measure each package on each device at each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recipe", default="default")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of the other packages
    torch.set_num_threads(given.threads)
    labels = head(given.labels)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"{given.labels.name}, {given.threads} threads, best of {given.repeats}, seconds per sample (of a core)")
    print(f"{'':12s}" + "".join(f"{f'{device} {n}':>22s}" for device in devices for n in given.sizes))
    for name, package in PACKAGES.items():
        cells = [measure(package, labels, device, n, given) for device in devices for n in given.sizes]
        print(f"{name:12s}" + "".join(f"{cell:>22s}" for cell in cells), flush=True)


def head(path: Path) -> Volume:
    """The map, as training has it in memory."""
    folder = path.parent if path.suffix == ".safetensors" else path.parent.parent
    return available(folder)[path.name.removesuffix(".safetensors").removesuffix(".gz").removesuffix(".nii")]().labels


def measure(package: Callable[..., Maker], labels: Volume, device: str, size: int, given: argparse.Namespace) -> str:
    """Seconds of the best repeat, or why there is none."""
    try:
        make = package(labels, device, size, given.recipe)
        make(0)  # the first call compiles, loads and caches
    except ImportError as error:
        return f"no {error.name}"
    best = [float("inf")] * 2
    for seed in range(1, given.repeats + 1):
        clocks = time.perf_counter(), time.process_time()
        make(seed)
        if device == "cuda":
            torch.cuda.synchronize()
        taken = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
        best = [min(a, b) for a, b in zip(best, taken, strict=True)]
    return f"{best[0]:.3f} ({best[1]:.3f})" if device == "cpu" else f"{best[0]:.4f}"


def isomorph(labels: Volume, device: str, size: int, recipe: str) -> Maker:
    """The generator of a recipe."""
    generator = config.load(recipe, (f"generator.deform.size=[{size}, {size}, {size}]",)).generator
    return partial(generator, Volume(labels.data.to(device), labels.affine), None)


def cornucopia(labels: Volume, device: str, size: int, recipe: str) -> Maker:
    """SynthFromLabelTransform, with its defaults."""
    import cornucopia

    crop = box(labels, size)
    used = tuple(int(k) for k in crop.unique() if k)
    transform = cornucopia.SynthFromLabelTransform(synth_labels=used, target_labels=used)

    def make(seed: int) -> object:
        torch.manual_seed(seed)
        return transform(crop.to(device))

    return make


def torchio(labels: Volume, device: str, size: int, recipe: str) -> Maker:
    """RandomLabelsToImage, which paints and nothing more."""
    import torchio

    subject = torchio.Subject(labels=torchio.LabelMap(tensor=box(labels, size).to(device)))
    transform = torchio.RandomLabelsToImage(label_key="labels")

    def make(seed: int) -> object:
        torch.manual_seed(seed)
        return transform(subject)

    return make


def box(labels: Volume, size: int) -> Tensor:
    """The middle of the map, as large as the sample: the others do not crop for themselves at no cost."""
    start = [(n - size) // 2 for n in labels.shape]
    return window(labels, start, [size] * 3).data.int()


PACKAGES = {"isomorph": isomorph, "cornucopia": cornucopia, "torchio": torchio}

if __name__ == "__main__":
    main()
