"""One brain on another: what is known of the first is brought along."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryDirectory

import torch

from ..ants import library, to_ants
from ..labels import brain_mask
from ..synth.contrasts import TARGET, target_means
from ..synth.generator import SILENT
from ..synth.mixture import paint
from ..volume import Volume

SPACING = 4.0  # mm: at 2 mm registration takes minutes and lesions land little better
AFFINE = {"aff_iterations": (200, 100, 20), "aff_shrink_factors": (4, 2, 1), "aff_smoothing_sigmas": (2, 1, 0)}
DIFFEOMORPHIC = {"reg_iterations": (60, 40, 10)}


def warped(moving: Volume, fixed: Volume, passengers: Sequence[Volume]) -> list[Volume]:
    """Register a T1 of a brain to that of another, affine and then diffeomorphic [1]_, and take numbers along.

    Parameters
    ----------
    moving, fixed : Volume, (1, I, J, K)
        T1s without skull.
    passengers : sequence of Volume, (1, I, J, K)
        Whole numbers in the place of `moving`: labels or masks. None of them is interpolated.

    Returns
    -------
    list of Volume
        The passengers on the grid of `fixed`.

    Raises
    ------
    SetupError
        If antspyx is not installed.

    References
    ----------
    .. [1] Avants et al., Med Image Anal 2008, doi:10.1016/j.media.2007.06.004
    """
    ants = library("registration of heads")
    goal = to_ants(fixed)
    coarse = [ants.resample_image(image, (SPACING,) * 3, False, 0) for image in (goal, to_ants(moving))]
    with TemporaryDirectory() as folder:
        affine = ants.registration(*coarse, "Affine", outprefix=f"{folder}/a", **AFFINE)
        start = affine["fwdtransforms"][0]
        found = ants.registration(*coarse, "SyNOnly", initial_transform=start, outprefix=f"{folder}/s", **DIFFEOMORPHIC)
        warp = found["fwdtransforms"]
        brought = [ants.apply_transforms(goal, to_ants(x), warp, interpolator="nearestNeighbor") for x in passengers]
    return [fixed.with_data(torch.from_numpy(image.numpy().round())[None]) for image in brought]


def painted_brain(labels: Volume) -> Volume:
    """The T1 of the brain of a label map, without skull, white matter at 1."""
    return painted(labels.with_data(torch.where(brain_mask(labels.data), labels.data, 0)))


def painted(labels: Volume) -> Volume:
    """The T1 of a label map, white matter at 1."""
    return paint(labels, means=target_means(TARGET, ill=True), stds=SILENT, seed=0)
