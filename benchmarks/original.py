"""The original SynthSR in its own framework against ours: whole commands, time, peak memory, and how far they agree.

    python3 -m venv tf && tf/bin/pip install tensorflow-cpu tf_keras nibabel scipy
    python benchmarks/original.py SCAN.nii.gz --tensorflow tf/bin/python [--threads 2] [--cut 96]

Weights are random, drawn by Keras: neither time nor memory nor agreement depends on their being good. What runs in
TensorFlow is the published graph and the steps of mri_synthsr around it: two passes, each followed by the clip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Run all three commands one after the other, then compare what they wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--tensorflow", type=Path, help="Python that has tensorflow-cpu, tf_keras, nibabel and scipy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="default", help="ours, by name or file")
    parser.add_argument("--cut", type=int, help="only the middle so many mm of the scan")
    parser.add_argument("--inside", nargs=2, type=Path, metavar=("WEIGHTS", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        original(given.scan, *given.inside, given.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """A table of time and memory, and one of agreement."""
    import nibabel as nib

    scan = cut(given.scan, given.cut, folder / "scan.nii.gz") if given.cut else given.scan
    h5, model = folder / "original.h5", folder / "original.safetensors"
    inside = [given.tensorflow, __file__, scan, "--threads", given.threads, "--inside", h5, folder / "theirs.nii.gz"]
    ours = [sys.executable, "-m", "isomorph.cli"]
    predict = [*ours, "predict", scan, "--threads", given.threads]
    timed(inside, given.threads)  # makes the weights
    subprocess.run([str(part) for part in [*ours, "convert-weights", h5, model]], check=True, capture_output=True)
    same = [*predict[:5], folder / "same.nii.gz", *predict[5:], "--model", model, "--compat", "freesurfer"]
    print(f"{given.scan.name}, {given.threads} threads", flush=True)
    first = told("original, tensorflow", inside, given.threads)
    told("its weights, isomorph", same, given.threads)
    agreement(*(nib.load(folder / f"{name}.nii.gz") for name in ("theirs", "same")))
    best = [*predict[:5], folder / "ours.nii.gz", *predict[5:], "--model", given.model]
    last = told("ours, isomorph", best, given.threads)
    print(f"  {'original / ours':24s} {first[0] / last[0]:7.1f}   {first[1] / last[1]:6.1f}")


def agreement(theirs, ours) -> None:
    """How far two written images agree, and that there is something to agree about."""
    a, b = (np.asarray(image.dataobj).astype(int) for image in (theirs, ours))
    zero, full = (100 * (a == value).mean() for value in (0, 255))
    place = np.abs(theirs.affine - ours.affine).max()
    shape = " x ".join(map(str, a.shape))
    print(f"  {shape} voxels of 1 mm, {zero:.0f} % of them 0, {full:.0f} % 255; affines {place:.1g} mm apart")
    print(f"  8-bit voxels equal {100 * (a == b).mean():.4f} %, apart by at most {abs(a - b).max()}", flush=True)


def told(name: str, command: list, threads: int) -> tuple[float, float]:
    """Time a command and print what it took."""
    seconds, peak = timed(command, threads)
    print(f"  {name:24s} {seconds:7.1f} s {peak:6.2f} GB", flush=True)
    return seconds, peak


def timed(command: list, threads: int) -> tuple[float, float]:
    """Seconds and GB of one whole command."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(str(part) for part in command[:4])} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024 / 1e9


def cut(source: Path, size: int, target: Path) -> Path:
    """The middle of a scan, to try a benchmark in little time."""
    import nibabel as nib

    image = nib.load(source)
    wanted = np.minimum(np.ceil(size / np.array(image.header.get_zooms()[:3])), image.shape[:3]).astype(int)
    start = (np.array(image.shape[:3]) - wanted) // 2
    slices = tuple(slice(s, s + n) for s, n in zip(start, wanted, strict=True))
    nib.save(image.slicer[slices], target)
    return target


def original(scan: Path, h5: Path, out: Path, threads: int) -> None:
    """What runs in TensorFlow: random weights into a file if there is none, else the whole of mri_synthsr with them."""
    import nibabel as nib
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if not h5.exists():
        return random_weights(h5)
    net = graph()
    net.load_weights(h5, by_name=True)
    image = nib.load(scan)
    padded, start, shape, affine = prepare(image.get_fdata(), image.affine)
    passes = [
        net.predict(padded[None, ..., None])[0, ..., 0],
        net.predict(padded[None, ::-1, :, :, None])[0, ::-1, ..., 0],
    ]
    mean = sum(0.5 * np.clip(255 * one, 0, 128) for one in passes)
    nib.save(nib.Nifti1Image(finish(mean, start, shape, affine), affine), out)


def graph():
    """The published network, as the tests of converted weights state it."""
    import tf_keras

    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from keras_graph import synthsr_graph

    return tf_keras.Model(*synthsr_graph(tf_keras))


def random_weights(path: Path) -> None:
    """A file of Keras whose network gives values on both sides of both clips."""
    net, rng = graph(), np.random.default_rng(0)
    for layer in net.layers:
        old = layer.get_weights()
        if "_bn_" in layer.name:
            n = old[0].shape
            layer.set_weights([rng.uniform(0.5, 1.5, n), *rng.normal(0, 0.3, (2, *n)), rng.uniform(0.3, 2, n)])
        elif old:
            scale = (0.3 if layer.name == "unet_likelihood" else 1.3) / np.sqrt(np.prod(old[0].shape[:-1]))
            bias = np.full(old[1].shape, 0.2) if layer.name == "unet_likelihood" else rng.normal(0, 0.1, old[1].shape)
            layer.set_weights([rng.normal(0, scale, old[0].shape), bias])
    net.save_weights(path)


def prepare(x: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], np.ndarray]:
    """To 1 mm, RAS order, sides multiples of 32, 0 to 1; and the way back."""
    from nibabel import orientations as o
    from scipy.interpolate import RegularGridInterpolator
    from scipy.ndimage import gaussian_filter

    mm = np.sqrt((affine[:3, :3] ** 2).sum(0))
    x = gaussian_filter(x, np.where(mm > 1, 0, 0.25 / mm))
    first, step = -(mm - 1) / (2 * mm), 1.0 / mm
    ends = first + step * np.ceil(x.shape * mm)
    lines = [np.arange(*three).clip(0, n - 1) for *three, n in zip(first, ends, step, x.shape, strict=True)]
    x = RegularGridInterpolator([np.arange(n) for n in x.shape], x)(
        tuple(np.meshgrid(*lines, indexing="ij", sparse=True))
    )
    new = affine.copy()
    new[:3, :3] /= mm
    new[:3, 3] -= new[:3, :3] @ (0.5 * (mm - 1))
    x = o.apply_orientation(x, o.io_orientation(new))
    size = np.ceil(np.array(x.shape) / 32).astype(int) * 32
    start = (size - x.shape) // 2
    padded = np.zeros(size)
    padded[tuple(slice(s, s + n) for s, n in zip(start, x.shape, strict=True))] = x
    padded -= padded.min()
    return padded / padded.max(), start, x.shape, new


def finish(x: np.ndarray, start: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Crop, sharpen, back to the axes of the scan, 8 bits."""
    from nibabel import orientations as o
    from scipy.ndimage import gaussian_filter

    x = x[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))].astype(float)
    x = x + (x - gaussian_filter(x, 1.5))
    there = o.ornt_transform(o.axcodes2ornt("RAS"), o.io_orientation(affine))
    return np.clip(2 * o.apply_orientation(x, there), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
