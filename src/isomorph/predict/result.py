"""What prediction gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..io import Notice
from ..volume import Volume
from .find import Lesions
from .segment import Segmentation


@dataclass(frozen=True, eq=False)
class Part:
    """One scan of an exam.

    Parameters
    ----------
    index : int
        Of the scan, as they were given.
    affine : (4, 4) array
        Of the scan, where registration put it.
    moved : mm
        How far registration moved the middle of its field of view.
    window : (low, high) or None
        Intensities of it that became air and bright tissue. None, as what follows, if a network took all scans at once;
        that of the reference is known.
    agreement : float or None
        Correlation, in the head, of its synthetic T1 with that of the reference; 1 for the reference itself.
    share : float or None
        Of it in the result, 0 if it was left out.
    """

    index: int
    affine: np.ndarray
    moved: float
    window: tuple[float, float] | None
    agreement: float | None = None
    share: float | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """A synthetic T1 and how it came about.

    Parameters
    ----------
    volume : Volume, (1, I, J, K) float32
        1 mm, axes in RAS order, 0 to 255, white matter about 110, 0 outside the field of view of the scan; or on the
        grid of the scan, where that was asked for. Of a model that sharpens a scan: in the units of the scan, and where
        it has seen nothing as bright as air.
    seconds : dict
        Time of each stage.
    device, precision : str
        What was used.
    threads : int
        Of the processor.
    window : (low, high)
        Intensities of the scan that became air and bright tissue; of an exam, those of the reference.
    quality : float, 0 to 1, optional
        How much the result looks like the T1 of a brain; see `quality`. None where its scale is that of the scan.
    notices : tuple of Notice
        What is to be known of the result, each with its code.
    uncertainty : Volume, optional
        Half width of the interval that holds the true T1 in 90 of 100 voxels, in units of the T1, where asked for.
    segmentation : Segmentation, optional
        Structures of the T1 and their volumes, where asked for.
    lesions : Lesions, optional
        Where lesions are, on the grid of `volume`; where a mask was given, or they were found to be kept.
    reference : int
        Which scan of an exam the result lies on.
    parts : tuple of Part
        The scans of an exam; empty if there was one scan.
    """

    volume: Volume
    seconds: dict[str, float]
    device: str
    precision: str
    threads: int
    window: tuple[float, float]
    quality: float | None = None
    notices: tuple[Notice, ...] = ()
    uncertainty: Volume | None = None
    segmentation: Segmentation | None = None
    lesions: Lesions | None = None
    reference: int = 0
    parts: tuple[Part, ...] = ()
