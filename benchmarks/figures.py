"""The pictures of the documentation, from real scans.

python benchmarks/figures.py ../shared/data docs/figures [--model default]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from isomorph import io
from isomorph.predict import synthesise
from isomorph.space import resample
from isomorph.volume import Volume
from isomorph.weights import load_model

# Title, file, share of the height at which the axial slice is cut.
SCANS = (
    ("T1, 3 mm axial", "ms/patient12_study1_T1W", 0.55),
    ("T2, 3.3 mm axial", "ms/patient12_study1_T2W", 0.55),
    ("FLAIR, 3 mm axial", "ms/patient12_study1_FLAIR", 0.55),
    ("T1, second visit", "ms/patient12_study2_T1W", 0.55),
    ("T2, second visit", "ms/patient12_study2_T2W", 0.55),
    ("FLAIR, second visit", "ms/patient12_study2_FLAIR", 0.55),
    ("T1, 3 mm axial", "ms/patient01_study1_T1W", 0.55),
    ("T2, 4 mm axial", "ms/patient01_study1_T2W", 0.55),
    ("FLAIR, 4 mm axial", "ms/patient01_study1_FLAIR", 0.55),
    ("FLAIR, 1 mm", "flair_1mm", 0.5),
    ("T2, 1 mm, stroke", "stroke_t2_1mm", 0.5),
    ("T1, 0.8 mm", "t1_0.8mm", 0.5),
)
FRONT = (
    "ms/patient12_study1_T2W",
    "ms/patient12_study1_FLAIR",
    "ms/patient01_study1_FLAIR",
    "flair_1mm",
    "stroke_t2_1mm",
)


def cut(x: Volume, axis: int, share: float) -> np.ndarray:
    """One slice, upright, on a square canvas so that all columns are alike."""
    plane = np.take(x.data[0].numpy(), int(share * x.shape[axis]), axis).T[::-1]
    side = 240
    canvas = np.zeros((side, side))
    top, left = ((side - n) // 2 for n in plane.shape)
    canvas[max(top, 0) : max(top, 0) + plane.shape[0], max(left, 0) : max(left, 0) + plane.shape[1]] = plane[
        max(-top, 0) : max(-top, 0) + side, max(-left, 0) : max(-left, 0) + side
    ]
    return canvas


def sheet(columns: list[tuple[str, Volume, Volume, float]], path: Path) -> None:
    """Scan above, synthetic T1 below; axial, then coronal."""
    figure, axes = plt.subplots(4, len(columns), figsize=(2 * len(columns), 8.3), facecolor="black", squeeze=False)
    for column, (title, scan, t1, height) in zip(axes.T, columns, strict=True):
        pictures = (cut(scan, 2, height), cut(t1, 2, height), cut(scan, 1, 0.5), cut(t1, 1, 0.5))
        for axis, picture, bright in zip(column, pictures, (None, 140, None, 140), strict=True):
            top = bright or np.percentile(scan.data[scan.data > 0].numpy(), 98)
            axis.imshow(picture, cmap="gray", vmin=0, vmax=top)
            axis.axis("off")
        column[0].set_title(title, color="white", fontsize=9)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=80, facecolor="black")
    plt.close(figure)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    model = load_model(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    columns = {}
    for title, name, height in SCANS:
        scan = io.load(options.data / "real" / f"{name}.nii.gz")
        t1 = synthesise(scan, model).volume
        columns[name] = (title, resample(scan, t1.shape, t1.affine), t1, height)
    sheet(list(columns.values()), options.out / "real-scans.png")
    sheet([columns[name] for name in FRONT], options.out / "before-after.png")


if __name__ == "__main__":
    main()
