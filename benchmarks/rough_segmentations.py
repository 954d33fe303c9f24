"""Rough segmentations for `isomorph priors`: three classes of brightness of the T1 that `isomorph predict` makes.

    isomorph predict SCAN t1s/SCAN.nii.gz
    python benchmarks/rough_segmentations.py t1s/ maps/
    isomorph priors SCANS maps/ mine.toml

Fluid, grey and white matter only, and no better than the synthetic T1; medians forgive much. Needs scipy.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import distance_transform_edt

from isomorph import io
from isomorph.evaluate.brain import rough_brain_mask
from isomorph.train.brightness import tissue_levels

FLUID, CORTEX, WHITE = 24, 3, 2  # numbers of isomorph.labels; 0 is what nobody looked at
FLUID_BELOW = 50  # white matter is at 110
MARGIN = 5  # mm: dura and scalp are not to be looked at, and not all of the brain is needed


def main(t1s: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    images, ours = io.survey([t1s])
    for path in sorted(images + ours):
        t1 = io.load(path, kind="image")
        x = t1.data[0].numpy()
        brain = distance_transform_edt(rough_brain_mask(t1).numpy()) > MARGIN
        dark, mixed, bright = tissue_levels(x[brain & (x > FLUID_BELOW)])
        surely = [x < FLUID_BELOW, x < (dark + mixed) / 2, x < (mixed + bright) / 2]  # what is mixed is left out
        labels = np.select(surely, [FLUID, CORTEX, 0], WHITE) * brain
        nib.save(nib.Nifti1Image(labels.astype(np.int16), t1.affine), out / path.name)
        litres = [(labels == number).sum() / 1e6 for number in (FLUID, CORTEX, WHITE)]
        print(f"{path.name}: {litres[0]:.2f} L fluid, {litres[1]:.2f} L grey, {litres[2]:.2f} L white matter")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
