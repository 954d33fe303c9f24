"""Where does the quality number put scans, and what is no head? All real scans, then what a machine can make up.

python benchmarks/nonsense.py ../shared/data [--model default]

The threshold in `predict/quality.py` must lie between the two groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from isomorph import io
from isomorph.predict import synthesise
from isomorph.predict.quality import THRESHOLD
from isomorph.volume import Volume
from isomorph.weights import load_model

N, SPACING = 112, 1.6  # voxels, mm
REAL = ("ms/*.nii.gz", "flair_1mm.nii.gz", "t1_0.8mm.nii.gz", "stroke_t2_1mm.nii.gz")


def nonsense() -> dict[str, Volume]:
    """A sphere, a cylinder of tubes, a leg, a phase image and noise."""
    line = (np.arange(N) - (N - 1) / 2) * SPACING
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    rng = np.random.default_rng(0)
    away, across = np.sqrt(x**2 + y**2 + z**2), np.hypot(x, y)
    grain = np.abs(rng.normal(0, 8, away.shape))
    tubes = np.where((across < 75) & (np.abs(z) < 70), 400.0, 0.0)
    for k in range(6):
        tubes[np.hypot(x - 40 * np.cos(k), y - 40 * np.sin(k)) < 4 + 2 * k] = 800 - 60 * k
    bone = np.hypot(x - 3, y - 6)
    leg = np.select([bone < 20, bone < 24, across < 58, across < 66], [600.0, 40.0, 250.0, 700.0], 5.0)
    leg[(np.abs(z) < 5) & (bone < 30)] = 120.0  # the joint
    phase = np.angle(np.exp(1j * (x / 14 + (y / 21) ** 2 / 6 + z / 32))) * 1000
    images = {
        "sphere": 500.0 * (away < 80) + grain,
        "tubes": tubes + grain,
        "leg": leg + grain,
        "phase": np.where(away < 136, phase, rng.uniform(-3142, 3142, away.shape)),
        "noise": np.hypot(rng.normal(0, 100, away.shape), rng.normal(0, 100, away.shape)),
    }
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = line[0]
    return {k: Volume(torch.tensor(v, dtype=torch.float32)[None], affine) for k, v in images.items()}


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    model = load_model(options.model)
    files = [path for pattern in REAL for path in sorted((options.data / "real").glob(pattern))]
    for path in files:
        print(f"{path.name:34s} {synthesise(io.load(path), model, flip=False).quality:.2f}", flush=True)
    print(f"threshold {THRESHOLD:g}")
    for name, volume in nonsense().items():
        print(f"{name:34s} {synthesise(volume, model, flip=False).quality:.2f}", flush=True)


if __name__ == "__main__":
    main()
