"""Super-resolution in the scan's own units, as in the first experiment of the 2021 paper: held-out T1s made thick, a
network of an `sr-2021` recipe against interpolation, inside the brain.

python benchmarks/super_resolution.py ../shared/data MODEL.safetensors [--spacing 5] [--thickness 3] [--people 12]

Scans are made thick with the slice profile of the recipe (alpha 1), in plane too; `--sharp` takes a profile whose full
width at half maximum is the thickness, across the slices only, which is what such a network was not trained for.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from examination.thin import AXES, truth_of

from isomorph.demo import compare
from isomorph.evaluate.thin import thicken
from isomorph.predict import synthesise
from isomorph.space import onto
from isomorph.synth.slices import average_slices
from isomorph.volume import Volume
from isomorph.weights import Model, load_model


def thick(truth: Volume, axis: int, spacing: float, thickness: float) -> Volume:
    """As the generator acquires it, with the middle of the profiles of the recipe."""
    apart, wide = list(truth.spacing), list(truth.spacing)
    apart[axis], wide[axis] = spacing, thickness
    edge = [(mm - voxel) / 2 / mm for mm, voxel in zip(apart, truth.spacing, strict=True)]  # the grid of the truth's
    return average_slices(truth, spacing=apart, thickness=wide, alpha=1.0, offset=edge)


def scores(truth: Volume, scan: Volume, model: Model) -> dict[str, dict[str, float]]:
    """Of each method, one person."""
    result = synthesise(scan, model, flip=False).volume
    return compare(scan, result, onto(truth, result.shape, result.affine))


def main() -> None:
    """Print a line for each person, then means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--axis", choices=AXES, default="coronal")
    parser.add_argument("--spacing", type=float, default=5.0, help="mm")
    parser.add_argument("--thickness", type=float, default=3.0, help="mm")
    parser.add_argument("--sharp", action="store_true")
    parser.add_argument("--people", type=int, default=12, help="of the held-out T1s (sub-61 to sub-72)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    rows = []
    for k in range(options.people):
        path = options.data / f"t1/sub-{61 + k}_T1w.nii.gz"
        truth, axis = truth_of(path), AXES.index(options.axis)
        if options.sharp:
            scan = thicken(truth, axis=axis, spacing=options.spacing, thickness=options.thickness)
        else:
            scan = thick(truth, axis, options.spacing, options.thickness)
        rows.append(scores(truth, scan, model))
        print(path.name, *(f"{name} {row['psnr']:.2f} {row['ssim']:.3f}" for name, row in rows[-1].items()), flush=True)
    means = {m: {s: float(np.mean([r[m][s] for r in rows])) for s in rows[0][m]} for m in rows[0]}
    for method, values in means.items():
        print(f"{method:22s}" + "  ".join(f"{m} {v:7.3f}" for m, v in values.items()))
    wins = sum(r["isomorph"]["psnr"] > r["cubic interpolation"]["psnr"] for r in rows)
    print(f"PSNR above cubic in {wins} of {len(rows)}")
    if options.json:
        options.json.write_text(json.dumps({"means": means, "people": rows}, indent=1))


if __name__ == "__main__":
    main()
