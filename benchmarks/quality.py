"""How good is the T1? A thin T1 made thick and synthesised back; then the three contrasts of one person on one day.

python benchmarks/quality.py ../shared/data [--model default] [--people 12] [--json scores.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from isomorph import io
from isomorph.align import aligned
from isomorph.demo import compare
from isomorph.evaluate import METRICS
from isomorph.evaluate.brain import rough_brain_mask
from isomorph.evaluate.thin import thicken
from isomorph.predict import synthesise
from isomorph.space import resample
from isomorph.train.corpus import bias_corrected
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

AXES = ("sagittal", "coronal", "axial")


def truth_of(path: Path) -> Volume:
    """A stripped T1 with white matter (its upper mode) near 110, so that metrics have one scale."""
    return _scaled(io.load(path))


def truths_of(path: Path) -> dict[str, Volume]:
    """As it was scanned, and without the bias of the coil, which is what a synthetic T1 should be: the biased scan asks
    for a bias that no answer can know of, and a perfect answer falls behind interpolation, which keeps it."""
    scan = truth_of(path)
    corrected = torch.from_numpy(bias_corrected(scan.data[0].numpy()))[None]
    return {"as scanned": scan, "without bias": _scaled(scan.with_data(corrected))}


def _scaled(x: Volume) -> Volume:
    return x.with_data(x.data * float(110 / np.percentile(x.data[x.data > 0].numpy(), 85)))


def super_resolution(truths: dict[str, Volume], model: Model, axis: int, spacing: float) -> dict[str, dict[str, float]]:
    """Scores of interpolation and of isomorph, of the scan made thick, against both thin ones, inside the brain."""
    scan = thicken(truths["as scanned"], axis=axis, spacing=spacing)
    result = synthesise(scan, model).volume
    scores = {}
    for name, truth in truths.items():
        for method, values in compare(scan, result, resample(truth, result.shape, result.affine)).items():
            scores[f"{name}, {method}"] = values
    return scores


def agreement(exam: Path, model: Model) -> dict[str, dict[str, float]]:
    """Correlation in the brain between the T1s made from three contrasts of one day, as the head lay and aligned."""
    t1s = {name: synthesise(io.load(f"{exam}_{name}.nii.gz"), model).volume for name in ("T1W", "T2W", "FLAIR")}
    reference = t1s["T1W"]
    still = {name: x if x is reference else aligned(x, reference) for name, x in t1s.items()}
    return {"as it lay": _pairs(t1s, reference), "aligned": _pairs(still, reference)}


def _pairs(t1s: dict[str, Volume], reference: Volume) -> dict[str, float]:
    data = {name: onto_grid(x, reference).data[0] for name, x in t1s.items()}
    mask = rough_brain_mask(reference) & torch.stack([x > 0 for x in data.values()]).all(0)
    pairs = (("T1W", "T2W"), ("T1W", "FLAIR"), ("T2W", "FLAIR"))
    return {f"{a}-{b}": METRICS["ncc"](data[a], data[b], mask=mask, data_range=110.0) for a, b in pairs}


def onto_grid(x: Volume, like: Volume) -> Volume:
    """Resampled through the world."""
    same = x.shape == like.shape and np.allclose(x.affine, like.affine)
    return x if same else resample(x, like.shape, like.affine)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--people", type=int, default=12, help="of the held-out T1s (sub-61 to sub-72)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    table: dict[str, dict] = {}

    truths = truths_of(options.data / "real/t1_0.8mm.nii.gz")
    table["t1_0.8mm, 5 mm coronal"] = super_resolution(truths, model, 1, 5.0)
    people = [truths_of(options.data / f"t1/sub-{61 + k}_T1w.nii.gz") for k in range(options.people)]
    for spacing in (3.0, 5.0, 7.0):
        for axis, name in enumerate(AXES):
            rows = [super_resolution(truths, model, axis, spacing) for truths in people]
            if rows:
                table[f"{len(rows)} held-out T1s, {spacing:g} mm {name}"] = {
                    method: {m: float(np.mean([r[method][m] for r in rows])) for m in rows[0][method]}
                    for method in rows[0]
                }
    for title, scores in table.items():
        print(title)
        for method, values in scores.items():
            print(f"  {method:36s}" + "  ".join(f"{m} {v:7.3f}" for m, v in values.items()))
    for visit in ("patient12_study1", "patient12_study2", "patient01_study1"):
        table[visit] = agreement(options.data / "real/ms" / visit, model)
        for how, values in table[visit].items():
            print(f"{visit}, {how:9s}", "  ".join(f"{pair} {v:.3f}" for pair, v in values.items()))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
