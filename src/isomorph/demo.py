"""The whole main job on a brain that comes with the installation: make a thick scan, synthesise, compare, show."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import io
from .errors import Refusal, UsageError, not_installed, require_packages
from .evaluate.fit import compared
from .evaluate.thin import thicken
from .predict import OPTIONS, Result, synthesise
from .predict.options import default_model
from .predict.restore import WHITE_MATTER
from .profile import smooth
from .report import Entry, check_report, draw, write_report
from .space import canonical_grid, onto, resample
from .synth.bias import bias_field
from .synth.noise import rician
from .volume import Volume
from .weights import Model, load_model

THICK = 5  # mm
PACKAGES = ("jinja2", "matplotlib", "nilearn", "scipy")  # of the extra `demo`
SCAN, T1, PAGE = "scan.nii.gz", "t1.nii.gz", "index.html"
MARK = {"command": "demo"}  # in the JSON beside an image: a T1 of the user's own scan is of isomorph too, and stays
AWAY = "choose another folder, or move it away"
CAPTION = (
    "A 1 mm T1 average brain (MNI152, skull-stripped) was turned into a scan of 5 mm slices with T2-like contrast, "
    "noise and bias. Each method is compared with the truth inside the brain, after the linear map of intensities that "
    "fits it best."
)


def run_demo(out: Path, model: str = default_model(ct=False)) -> list[str]:
    """Make, synthesise, compare; writes ``scan.nii.gz`` and ``t1.nii.gz``, each with its JSON, and ``index.html``.

    Parameters
    ----------
    out : path of a folder
        What an earlier demo left there is replaced, and nothing else.
    model : str
        Name of a model or a file.

    Returns
    -------
    list of str
        The table of scores, line by line.

    Raises
    ------
    SetupError
        If a package or the model is missing, or the folder is not writable.
    Refusal
        E705 a file of one of these names is there, and no demo left it; E706 it is a link.
    """
    require_packages("the demo", "demo", *PACKAGES)
    network = load_model(model)
    refuse_others(out)
    truth = load_truth()
    scan = thick_scan(truth)
    io.write(scan, out / SCAN, overwrite=True, sidecar={"synthetic": False} | MARK, description="image")
    result = synthesise(io.load(out / SCAN), network)
    io.write(result.volume, out / T1, overwrite=True, sidecar=_sidecar(result, network))
    truth = onto(resample(truth, *canonical_grid(scan)), result.volume.shape, result.volume.affine)
    scores = compare(scan, result.volume, truth)
    pictures = {
        "the scan, 5 mm slices": draw(scan, like=result.volume),
        "synthetic T1": draw(result.volume, window=(0, 150)),
        "the truth": draw(truth, like=result.volume, window=(0, 150)),
    }
    entry = Entry(name="MNI152", message=CAPTION, seconds=result.seconds, pictures=pictures, metrics=scores)
    write_report(out / PAGE, [entry], title="isomorph demo")
    return [*_table(scores), f"look at {out / PAGE}"]


def refuse_others(out: Path) -> None:
    """Everything that can be known to go wrong with the outputs, before the work; makes their folder.

    Parameters
    ----------
    out : path of a folder

    Raises
    ------
    Refusal, SetupError
        As `run_demo`.
    """
    for image in (out / SCAN, out / T1):
        if not _replaceable(image):
            raise Refusal("E705", f"{image.name}, or the JSON beside it, is there and no demo left it", AWAY)
        io.check_output(image, overwrite=True)
    try:
        check_report(out / PAGE)
    except UsageError:
        raise Refusal("E705", f"{PAGE} is there and is no report of isomorph", AWAY) from None


def _replaceable(image: Path) -> bool:
    """Whether image and JSON are as an earlier demo left them, as far as they are there."""
    told = io.sidecar(image)
    if os.path.lexists(io.sidecar_path(image)) and not told.items() >= ({"tool": "isomorph"} | MARK).items():
        return False
    return not os.path.lexists(image) or io.described(image, told)


def load_truth() -> Volume:
    """The MNI152 brain of nilearn, 1 mm, white matter about 110.

    Raises
    ------
    SetupError
        If nilearn is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nilearn.datasets import load_mni152_template

            image = load_mni152_template(resolution=1)
    except ImportError:
        raise not_installed("the demo", "nilearn", "demo") from None
    data = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))[None]
    white = float(np.percentile(data[data > 0].numpy(), 90))
    return Volume(data * (WHITE_MATTER / white), np.asarray(image.affine))


def thick_scan(truth: Volume, *, inverted: bool = True, seed: int = 0) -> Volume:
    """A scan of 5 mm axial slices of a T1.

    Parameters
    ----------
    truth : Volume
        1 mm, white matter at 110, air at 0.
    inverted : bool
        Fluid bright and white matter dark, as in a T2.
    seed : int
    """
    x = truth
    if inverted:
        brain = (x.data > 5).float()
        x = x.with_data((1.3 * WHITE_MATTER - x.data).clamp(min=0) * smooth_mask(brain))
    x = bias_field(x, strength=0.15, spacing=60.0, seed=seed)
    slices = thicken(x, axis=2, spacing=THICK)
    return rician(slices, sigma=0.02, seed=seed + 1)


def smooth_mask(mask: Tensor) -> Tensor:
    """A mask without a hard border."""
    for axis in range(3):
        mask = smooth(mask, 0.6, axis)
    return mask


def cubic(scan: Volume, like: Volume) -> Volume:
    """A scan on another grid by splines of the third order: what a synthetic T1 is compared with.

    Parameters
    ----------
    scan : Volume, (1, I, J, K)
    like : Volume
        On the grid that is wanted.

    Raises
    ------
    SetupError
        If scipy is missing.
    """
    try:
        from scipy.ndimage import affine_transform
    except ImportError:
        raise not_installed("the comparison", "scipy", "demo") from None

    move = np.linalg.inv(scan.affine) @ like.affine
    x = affine_transform(scan.data[0].numpy(), move, output_shape=like.shape, order=3, mode="nearest")
    return like.with_data(torch.from_numpy(x)[None])


def compare(scan: Volume, synthetic: Volume, truth: Volume) -> dict[str, dict[str, float]]:
    """Scores of the synthetic T1 beside plain interpolation of the scan, inside the brain.

    Parameters
    ----------
    scan : Volume
    synthetic, truth : Volume
        On one 1 mm grid.

    Raises
    ------
    SetupError
        If scipy is missing.
    """
    mask = truth.data[0] > 5
    methods = {
        "linear interpolation": resample(scan, truth.shape, truth.affine).data[0],
        "cubic interpolation": cubic(scan, truth).data[0],
        "isomorph": synthetic.data[0],
    }
    return compared(methods, truth.data[0], mask, data_range=WHITE_MATTER)


def _sidecar(result: Result, model: Model) -> dict:
    return MARK | {
        "model": {"name": model.card["name"], "sha256": model.sha256},
        "options": asdict(OPTIONS) | {"model": model.card["name"]},
        "seconds": result.seconds,
        "output": {"contrast": "T1"},
        "contains_face": False,
    }


def _table(scores: dict[str, dict[str, float]]) -> list[str]:
    columns = list(next(iter(scores.values())))
    rows = [f"{name:22s}" + "".join(f"{values[c]:9.3f}" for c in columns) for name, values in scores.items()]
    return [" " * 22 + "".join(f"{c:>9s}" for c in columns), *rows]
