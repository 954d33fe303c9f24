"""Estimate of the intracranial volume against label maps of whole heads: python benchmarks/intracranial.py DATA

DATA holds labels/training_seg_*.nii.gz. No network: how good is the estimate where the segmentation is right?
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from isomorph.labels import FLUID_OUTSIDE, brain_mask
from isomorph.predict.cranium import CLOSED, VENTRICLES, closed

FLUID = (4, 5, 14, 15, 43, 44, 72)  # in the brain
CEREBELLUM = (7, 8, 46, 47)  # which ends above the foramen magnum


def measured(path: Path) -> tuple[float, float, float, float]:
    """cm3 of the brain, of the brain closed, of its ventricles, and within the skull."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = torch.from_numpy(np.asarray(image.dataobj).astype(np.int16))
    brain = brain_mask(labels)
    lowest = int(torch.isin(labels, torch.tensor(CEREBELLUM)).nonzero()[:, 2].min())
    above = torch.arange(labels.shape[2]) >= lowest
    truth = (brain | ((labels == FLUID_OUTSIDE) & above)).sum()
    fluid = torch.isin(labels, torch.tensor(FLUID)).sum()
    return float(brain.sum()) / 1000, closed(brain.float(), 1.0) / 1000, float(fluid) / 1000, float(truth) / 1000


def said(name: str, guess: np.ndarray, truth: np.ndarray) -> str:
    off = 100 * (guess - truth) / truth
    close = np.corrcoef(guess, truth)[0, 1]
    return f"| {name} | {close:.3f} | {off.mean():+.1f} | {np.abs(off).mean():.1f} | {np.abs(off).max():.1f} |"


def main(data: Path) -> None:
    rows = np.array([measured(path) for path in sorted(data.glob("labels/training_seg_*.nii.gz"))])
    brain, truth, known = rows[:, 0], rows[:, 3], rows[:, 1:3]
    left_out = np.empty(len(truth))
    for k in range(len(truth)):
        others = np.arange(len(truth)) != k
        left_out[k] = known[k] @ np.linalg.lstsq(known[others], truth[others], rcond=None)[0]
    print("| estimate | correlation | bias, % | mean error, % | largest, % |\n|---|---|---|---|---|")
    print(said("brain, scaled", brain * truth.sum() / brain.sum(), truth))
    print(said("brain closed", known[:, 0], truth))
    print(said("closed and ventricles, each left out in turn", left_out, truth))
    print(said("as it is in the package", known @ [CLOSED, VENTRICLES], truth))
    print("fitted to all:", np.linalg.lstsq(known, truth, rcond=None)[0].round(3))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
