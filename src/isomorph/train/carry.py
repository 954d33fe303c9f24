"""Lesions of real patients, carried from MNI space into each head by registration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from ..ants import library, to_ants
from ..errors import SetupError
from ..labels import TISSUES, brain_mask
from ..space import resample
from ..synth.contrasts import CONTRAST_TABLES, TARGET
from ..synth.mixture import paint
from ..volume import Volume

MOST = 8  # patients in each head: one bit each of a byte
SPACING = 4.0  # mm: at 2 mm registration takes minutes and lesions land little better
AFFINE = {"aff_iterations": (200, 100, 20), "aff_shrink_factors": (4, 2, 1), "aff_smoothing_sigmas": (2, 1, 0)}
DIFFEOMORPHIC = {"reg_iterations": (60, 40, 10)}

Carry = Callable[[str, Volume, Volume | None], Volume]  # name, labels, target -> masks


def carrier(folder: Path, *, report: Callable[[str], None]) -> Carry | None:
    """What carries the masks of a folder into a head; None, said in one line, where something for it is missing.

    Parameters
    ----------
    folder : of masks in MNI space, 1 for lesion
    report : called with the line

    References
    ----------
    .. [1] Avants et al., Med Image Anal 2008, doi:10.1016/j.media.2007.06.004
    .. [2] Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033
    """
    paths = sorted(folder.glob("*.nii*"))
    if not paths:
        report("no lesions are carried over: the data folder holds no lesions/*.nii.gz")
        return None
    try:
        ants = library("to carry lesions over")
        from nilearn.datasets import load_mni152_template  # type: ignore[import-not-found]
    except (SetupError, ImportError):
        report("no lesions are carried over: antspyx or nilearn is missing; pip install 'isomorph[register,demo]'")
        return None
    image = load_mni152_template(resolution=1)
    template = Volume(torch.from_numpy(image.get_fdata().astype(np.float32))[None], image.affine)
    masks = [_mask(path, template) for path in paths]

    def carry(name: str, labels: Volume, target: Volume | None) -> Volume:
        return _warped(ants, template, template.with_data(_bits(name, masks)), _brain(labels, target))

    return carry


def _bits(name: str, masks: list[torch.Tensor]) -> torch.Tensor:
    """The masks chosen for a head, one bit each; where there are fewer than bits, they come again."""
    chosen = Random(f"lesions/{name}").sample(range(len(masks)), min(MOST, len(masks)))
    repeated = islice(cycle(chosen), MOST)
    return sum((masks[index] << bit for bit, index in enumerate(repeated)), torch.zeros_like(masks[0]))


def _mask(path: Path, template: Volume) -> torch.Tensor:
    """A mask on the grid of the template, 0 or 1."""
    from .. import io  # here, so that training runs where there is no image library

    mask = io.load(path, kind="image")
    return (resample(mask, template.shape, template.affine, mode="nearest").data > 0.5).to(torch.uint8)


def _brain(labels: Volume, target: Volume | None) -> Volume:
    """The T1 of a brain: the real one, or painted."""
    if target is not None:
        return target.with_data(target.data.float())
    brain = labels.with_data(torch.where(brain_mask(labels.data), labels.data, 0))
    return paint(brain, means=CONTRAST_TABLES[TARGET], stds=dict.fromkeys(TISSUES, 0.0), seed=0)


def _warped(ants: Any, template: Volume, masks: Volume, brain: Volume) -> Volume:
    """Register the template to a brain, affine and then diffeomorphic, and take the masks along."""
    fixed, moving = to_ants(brain), to_ants(template)
    coarse = [ants.resample_image(image, (SPACING,) * 3, False, 0) for image in (fixed, moving)]
    with TemporaryDirectory() as folder:
        affine = ants.registration(*coarse, "Affine", outprefix=f"{folder}/a", random_seed=1, **AFFINE)
        start = affine["fwdtransforms"][0]
        warp = ants.registration(
            *coarse, "SyNOnly", initial_transform=start, outprefix=f"{folder}/s", random_seed=1, **DIFFEOMORPHIC
        )
        carried = ants.apply_transforms(fixed, to_ants(masks), warp["fwdtransforms"], interpolator="nearestNeighbor")
    return brain.with_data(torch.from_numpy(carried.numpy().round().astype(np.uint8))[None])
