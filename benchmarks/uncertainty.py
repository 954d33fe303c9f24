"""Does the interval hold what it says? Held-out T1s made thick, as they are and with their contrast turned round.

python benchmarks/uncertainty.py ../shared/data [--model default] [--people 6] [--spacing 5] [--first 61] [--crop 0]

The last line is what `FACTOR` in `predict/uncertainty.py` must be for the stated share to come true.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from examination.thin import truth_of

from isomorph.demo import thick_scan
from isomorph.evaluate.thin import thicken
from isomorph.predict import synthesise
from isomorph.predict.uncertainty import FACTOR, LEVEL, speaks
from isomorph.space import onto, window
from isomorph.volume import Volume
from isomorph.weights import Model, load_model


def errors(truth: Volume, scan: Volume, model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Error and half width of the interval in each voxel of the brain, after the line of intensities that fits best."""
    result = synthesise(scan, model, uncertainty=True)
    assert result.uncertainty
    y = onto(truth, result.volume.shape, result.volume.affine).data[0]
    mask = y > 5
    x, y = result.volume.data[0][mask], y[mask]
    slope = ((x - x.mean()) * (y - y.mean())).mean() / (x - x.mean()).square().mean()
    # The scale of the scanner is unknown: errors are counted in units of the T1 that comes out.
    error = ((y - y.mean()) / slope + x.mean() - x).abs()
    return error, result.uncertainty.data[0][mask]


def main() -> None:
    """Print coverage for each scan, and whether wide and narrow intervals hold alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--people", type=int, default=6, help="of the held-out T1s, sub-61 to sub-72")
    parser.add_argument("--first", type=int, default=61)
    parser.add_argument(
        "--spacing", type=float, default=5.0, help="mm between slices, sagittal, coronal, axial in turn"
    )
    parser.add_argument("--crop", type=int, default=0, help="edge of a cube in the middle, in mm; 0 for the whole")
    options = parser.parse_args()
    model = load_model(options.model)
    kind = "laplace" if speaks(model.card) else "spread"
    ratios = []
    for k in range(options.first, options.first + options.people):
        truth = truth_of(options.data / f"t1/sub-{k}_T1w.nii.gz")
        if options.crop:
            truth = window(truth, [(n - options.crop) // 2 for n in truth.shape], [options.crop] * 3)
        scans = {"T1": thicken(truth, axis=k % 3, spacing=options.spacing), "inverted": thick_scan(truth)}
        for name, scan in scans.items():
            error, width = errors(truth, scan, model)
            ratios.append((error / width)[:: max(1, error.numel() // 200_000)])
            order = width.argsort()
            held = (error <= width).float()
            fifths = " ".join(f"{width[p].mean():.1f}: {held[p].mean():.2f}" for p in order.chunk(5))
            print(f"sub-{k} {name:8s} inside {held.mean():.3f}, by fifths of width {fifths}", flush=True)
    whole = torch.cat(ratios)
    inside, needed = (whole <= 1).float().mean(), FACTOR[kind] * whole.quantile(LEVEL)
    print(f"inside {inside:.3f} of {LEVEL:g}; FACTOR[{kind!r}] is {FACTOR[kind]:g}, should be {needed:.2f}")


if __name__ == "__main__":
    main()
