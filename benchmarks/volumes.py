"""Are structures as large as they are? Volumes of a T1 made thick and synthesised back, against those of the thin one,
as in Table 2 of doi:10.1016/j.neuroimage.2021.118206; beside volumes of the same thick scan, interpolated.

python benchmarks/volumes.py ../shared/data [--people 12] [--spacing 5 7] [--axis coronal] [--json scores.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from quality import AXES, truth_of

from isomorph.demo import cubic
from isomorph.evaluate.thin import thicken
from isomorph.predict import segment, synthesise
from isomorph.space import canonical_grid, resample
from isomorph.volume import Volume
from isomorph.weights import Model, load_model

STRUCTURES = ("hippocampus", "lateral ventricle", "thalamus", "putamen", "cortex", "white matter")  # left and right


def volumes(x: Volume, segmenter: Model) -> dict[str, float]:
    """ml of both sides together."""
    found = segment(x, segmenter).volumes
    return {name: (found[f"left {name}"] + found[f"right {name}"]) / 1000 for name in STRUCTURES}


def _positive(x: Volume) -> Volume:
    """Splines overshoot where air begins."""
    return x.with_data(x.data.clamp(min=0))


def measured(path: Path, model: Model, segmenter: Model, axis: int, spacings: list[float]) -> dict[str, dict]:
    """Volumes of one person: of the thin T1, and of each thick one by each method."""
    truth = truth_of(path)
    thin = resample(truth, *canonical_grid(truth))
    found = {"1 mm": volumes(thin, segmenter)}
    for spacing in spacings:
        scan = thicken(truth, axis=axis, spacing=spacing)
        found[f"{spacing:g} mm, isomorph"] = volumes(synthesise(scan, model).volume, segmenter)
        found[f"{spacing:g} mm, cubic"] = volumes(_positive(cubic(scan, thin)), segmenter)
    return found


def summary(people: list[dict[str, dict]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean relative error (%) and correlation over people, of each structure by each method."""
    table = {}
    for method in [name for name in people[0] if name != "1 mm"]:
        rows = {}
        for name in STRUCTURES:
            a, b = (np.array([person[which][name] for person in people]) for which in (method, "1 mm"))
            rows[name] = (float(np.mean(np.abs(a - b) / b)) * 100, float(np.corrcoef(a, b)[0, 1]))
        table[method] = rows
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--segmenter", default="segmenter")
    parser.add_argument("--people", type=int, default=12, help="of the held-out T1s (sub-61 to sub-72)")
    parser.add_argument("--spacing", type=float, nargs="+", default=[3.0, 5.0, 7.0])
    parser.add_argument("--axis", choices=AXES, default="coronal")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, segmenter = load_model(options.model), load_model(options.segmenter)
    people = []
    for k in range(options.people):
        path = options.data / f"t1/sub-{61 + k}_T1w.nii.gz"
        people.append(measured(path, model, segmenter, AXES.index(options.axis), options.spacing))
        print(path.name, {name: round(v["hippocampus"], 2) for name, v in people[-1].items()}, flush=True)
        if options.json:
            options.json.write_text(json.dumps(people, indent=1))
    print(f"{'error %, correlation':22s}" + "".join(f"{name:>20s}" for name in STRUCTURES))
    for method, rows in summary(people).items():
        print(f"{method:22s}" + "".join(f"{rows[name][0]:12.1f} {rows[name][1]:7.3f}" for name in STRUCTURES))


if __name__ == "__main__":
    main()
