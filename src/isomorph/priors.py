"""Contrast priors from scans and rough segmentations: how bright each tissue is, and how much that varies.

In each scan the median and 1.4826 times the median absolute deviation of each tissue; the variance scaled from the
volume of the scan's voxels to that of the training grid, as noise in thick slices is less than in thin ones; a normal
distribution through the numbers of all scans; its deviations times 5, so that training sees more than was measured
(doi:10.1016/j.neuroimage.2021.118206). What is painted is smoothed by half a voxel, and a Gaussian profile averages
more than a box: of a texture of 0.05 in 5 mm slices 0.022 come back, within deviations that are five times too wide.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from . import io
from .errors import Refusal, UsageError, escape
from .intensity import percentiles, robust_range, soft_tissue
from .io.target import trouble
from .labels import EXTRACEREBRAL, LABELS, TISSUES, parcelled
from .pairs import pairs
from .place import place
from .space import resample
from .volume import Volume

MAD = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
HYPER = 5.0
BRIGHT = 98.0  # percentile of what is labelled in the brain
FEWEST = 30  # voxels of a tissue in a scan; fewer say nothing
ALONE = 0.03  # of the brightest median: deviation between scans where only one scan knows the tissue
BRAIN = [n for n in LABELS if n and n not in EXTRACEREBRAL]
BEYOND = -1  # what the label map does not cover; 0 would be air
MOST = 2000  # different numbers in a label map: there are atlases of 1000 parcels
ALIKE = 0.3  # of neighbours, how many hold the same number: label maps 0.6 (5 mm voxels) to 0.9, scans 0.1 at most
PathLike = str | os.PathLike[str]
Statistics = dict[str, tuple[float, float]]  # tissue -> median, standard deviation


@dataclass(frozen=True)
class Priors:
    """Mean and deviation, of the mean and of the standard deviation of each tissue.

    Parameters
    ----------
    means, stds : tissue to (mean, deviation)
    scans : tissue to number of scans it was seen in
    """

    means: dict[str, tuple[float, float]]
    stds: dict[str, tuple[float, float]]
    scans: dict[str, int]


def measure(image: Volume, labels: Volume, *, target: float = 1.0, raw: bool = False, ct: bool = False) -> Statistics:
    """Brightness and texture of each tissue in one scan.

    Parameters
    ----------
    image : Volume
    labels : Volume
        Numbers of `isomorph.labels`, on any grid. 0 is air if tissues outside the brain are labelled too, else it is
        what nobody labelled; what lies beyond the grid does not count.
    target : mm³
        Voxel volume that the variance is scaled to.
    raw : bool
        Take brightness as it is, else air becomes 0 and bright tissue of the brain 1: scalp, which shines differently
        in every coil, should not pass for a difference of contrast.
    ct : bool
        In Hounsfield units: clipped as prediction clips it, 80 HU become 1.

    Raises
    ------
    Refusal
        E506 if the labels are none, such as a scan, or lie elsewhere.
    """
    segmentation = _on_grid(labels, image)
    x = image.data[0].float()
    if ct:
        x = soft_tissue(x) / soft_tissue(torch.tensor(math.inf))
    elif not raw:
        x = _scaled(x, segmentation)
    widen = math.sqrt(math.prod(image.spacing) / target)
    found = {}
    for tissue, numbers in _numbers(segmentation).items():
        values = x[torch.isin(segmentation, torch.tensor(numbers))]
        if len(values) >= FEWEST:
            median = values.median()
            found[tissue] = (median.item(), widen * MAD * (values - median).abs().median().item())
    if not found:
        raise Refusal("E506", "no label lies on the scan", "give the segmentation of this very scan")
    return found


def fit(scans: Sequence[Statistics], *, factor: float = HYPER) -> Priors:
    """One normal distribution for each number of each tissue, through all scans that know it.

    Parameters
    ----------
    scans : as `measure` gives them
    factor : float
        The deviations are multiplied by it.
    """
    brightest = max(median for scan in scans for median, _ in scan.values())
    means, stds, counts = {}, {}, {}
    for tissue in TISSUES:
        known = [scan[tissue] for scan in scans if tissue in scan]
        if not known:
            continue
        for table, values in zip((means, stds), zip(*known, strict=True), strict=True):
            between = stdev(values) if len(values) > 1 else ALONE * brightest
            table[tissue] = (max(0.0, fmean(values)), factor * between)
        counts[tissue] = len(known)
    return Priors(means, stds, counts)


def as_toml(priors: Priors, note: str) -> str:
    """Settings of the contrast `measured`, to be included by a recipe or pasted into it.

    Parameters
    ----------
    priors : Priors
    note : str
        How they came about; one line.
    """

    def table(pairs: Mapping[str, tuple[float, float]]) -> list[str]:
        return [f"{tissue} = [{a:.5g}, {b:.5g}]  # scans: {priors.scans[tissue]}" for tissue, (a, b) in pairs.items()]

    lines = [f"# {note}", "[generator.contrast]", 'kind = "measured"', 'distribution = "normal"', ""]
    lines += ["[generator.contrast.means]  # mean and deviation of the brightness", *table(priors.means), ""]
    lines += ["[generator.contrast.stds]  # mean and deviation of the texture", *table(priors.stds)]
    return "\n".join(lines) + "\n"


def estimate(
    images: PathLike,
    labels: PathLike,
    out: PathLike,
    *,
    factor: float = HYPER,
    raw: bool = False,
    ct: bool = False,
    overwrite: bool = False,
    report: Callable[[str], object] = lambda _: None,
) -> int:
    """Measure all scans and write the priors.

    Parameters
    ----------
    images, labels : path
        A scan and its segmentation, two folders or two ``.txt`` files, as `pairs` takes them.
    out : path
        A ``.toml`` file.
    factor, raw, ct
        See `fit` and `measure`.
    overwrite : bool
        Replace `out` if it is there.
    report : called with one line for each scan

    Returns
    -------
    int
        0 done, 4 some scans refused, 5 all refused and nothing written.

    Raises
    ------
    NothingFound, UsageError, SetupError
        Before any scan is read; SetupError also if the result cannot be written.
    """
    out = Path(out)
    if out.suffix != ".toml":
        raise UsageError(f"the output {escape(out.name)!r} must end in .toml.")
    if not factor > 0 or math.isinf(factor):
        raise UsageError(f"the factor is {factor}; give a number above 0.")
    if raw and ct:
        raise UsageError("--raw and --ct contradict each other; give --ct for Hounsfield units, --raw for other scans.")
    if os.path.lexists(out) and not overwrite:
        raise UsageError(f"{escape(out.name)} exists already; choose another output or --overwrite.")
    jobs, found = pairs(images, labels), []
    for image, segmentation in jobs:
        try:
            scan, map_ = io.read(image, ct=ct), io.read(segmentation, kind="image")
            found.append(measure(scan.volume, map_.volume, raw=raw, ct=ct))
            report(f"done: {escape(image.name)} with {escape(segmentation.name)}: {len(found[-1])} tissues")
        except Refusal as refusal:
            report(f"refused: {escape(image.name)} with {escape(segmentation.name)}: {refusal}")
    if not found:
        return 5
    scale = "brightness as in the scans" if raw else "80 HU = 1" if ct else "bright tissue of the brain = 1"
    note = f"Contrast priors of {len(found)} scans; {scale}; texture of 1 mm³; deviations times {factor:g}."
    try:
        place(out, as_toml(fit(found, factor=factor), note).encode(), overwrite=overwrite)
    except FileExistsError:
        raise UsageError(f"{escape(out.name)} exists already; choose another output or --overwrite.") from None
    except OSError as error:
        raise trouble(error, out) from None
    return 4 if len(found) < len(jobs) else 0


def _on_grid(labels: Volume, image: Volume) -> Tensor:
    """The label map on the grid of the scan, nearest label; parcels of FreeSurfer by what they are parts of."""
    data = _whole(labels.data)
    on_grid = resample(labels.with_data(data), image.shape, image.affine, mode="nearest", fill=BEYOND)
    found = on_grid.data[0].long()
    for number in found.unique().tolist():
        if (structure := parcelled(number)) != number:
            found[found == number] = structure
    return found


def _whole(data: Tensor) -> Tensor:
    """The numbers of a label map, and of nothing else."""
    numbers = data.round().int()
    if (numbers - data).abs().max() > 1e-3:
        raise Refusal("E506", "the segmentation holds values that are not whole numbers", "give a label map")
    if (count := len(numbers.unique())) > MOST:
        raise Refusal("E506", f"the segmentation holds {count} numbers, a label map {MOST} at most", "give a label map")
    if (alike := _alike(numbers[0])) < ALIKE:
        reason = f"the segmentation looks like a scan: {alike:.0%} of neighbours are the same, in a label map most"
        raise Refusal("E506", reason, "give the label map of this scan")
    return numbers


def _alike(numbers: Tensor) -> float:
    """How many neighbours, both above 0, are the same, along the middle one of the axes: slices may be thick, or
    repeated."""
    shares = []
    for axis, n in enumerate(numbers.shape):
        a, b = numbers.narrow(axis, 0, n - 1), numbers.narrow(axis, 1, n - 1)
        both = (a > 0) & (b > 0)
        shares.append((a == b)[both].float().mean().item() if both.any() else 1.0)
    return sorted(shares)[1]


def _scaled(x: Tensor, segmentation: Tensor) -> Tensor:
    low, high = robust_range(x)
    brain = x[torch.isin(segmentation, torch.tensor(BRAIN))]
    high = percentiles(brain, BRIGHT)[0] if len(brain) >= FEWEST else high
    return (x - low) / max(high - low, torch.finfo(torch.float32).tiny)


def _numbers(segmentation: Tensor) -> dict[str, list[int]]:
    """Labels of each tissue that occur; what the table does not list is left out, as are mixtures."""
    present = [n for n in segmentation.unique().tolist() if n in LABELS]
    whole_head = not EXTRACEREBRAL.isdisjoint(present)
    tissues: dict[str, list[int]] = {}
    for number in present:
        if number or whole_head:
            tissues.setdefault(LABELS[number].tissue, []).append(number)
    return tissues
