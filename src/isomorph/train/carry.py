"""Lesions of real patients, carried from MNI space into each head by registration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from random import Random

import numpy as np
import torch

from ..ants import library
from ..errors import SetupError, from_clone
from ..labels import brain_mask
from ..space import resample
from ..synth.pathology.carried import PATIENTS
from ..volume import Volume
from .warp import painted_brain, warped

Carry = Callable[[str, Volume, Volume | None], Volume]  # name, labels, target -> masks


def carrier(folder: Path, *, report: Callable[[str], None]) -> Carry | None:
    """What carries the masks of a folder into a head; None, said in one line, where something for it is missing.

    Parameters
    ----------
    folder : of masks in MNI space, 1 for lesion
    report : called with the line

    References
    ----------
    .. [1] Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033
    """
    paths = sorted(folder.glob("*.nii*"))
    if not paths:
        report("no lesions are carried over: the data folder holds no lesions/*.nii.gz")
        return None
    try:
        library("to carry lesions over")
        from nilearn.datasets import load_mni152_template  # type: ignore[import-not-found]
    except (SetupError, ImportError):
        report(f"no lesions are carried over: antspyx or nilearn is missing; {from_clone('register,demo')}")
        return None
    image = load_mni152_template(resolution=1)
    template = Volume(torch.from_numpy(image.get_fdata().astype(np.float32))[None], image.affine)
    masks = [_mask(path, template) for path in paths]

    def carry(name: str, labels: Volume, target: Volume | None) -> Volume:
        brain = painted_brain(labels)
        if target is not None:  # which may wear a head; the template has none
            brain = target.with_data(target.data * brain_mask(labels.data))
        (carried,) = warped(template, brain, [template.with_data(_bits(name, masks))])
        return carried.with_data(carried.data.to(torch.uint8))

    return carry


def _bits(name: str, masks: list[torch.Tensor]) -> torch.Tensor:
    """The masks chosen for a head, one bit each; where there are fewer than bits, they come again."""
    chosen = Random(f"lesions/{name}").sample(range(len(masks)), min(PATIENTS, len(masks)))
    repeated = islice(cycle(chosen), PATIENTS)
    return sum((masks[index] << bit for bit, index in enumerate(repeated)), torch.zeros_like(masks[0]))


def _mask(path: Path, template: Volume) -> torch.Tensor:
    """A mask on the grid of the template, 0 or 1."""
    from .. import io  # here, so that training runs where there is no image library

    mask = io.load(path, kind="image")
    return (resample(mask, template.shape, template.affine, mode="nearest").data > 0.5).to(torch.uint8)
