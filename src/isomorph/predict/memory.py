"""How much memory will it take? Said before anything is allocated; and what to do where that is too much."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..device import choose_device, choose_precision
from ..errors import SetupError, UsageError
from ..nets.slabs import FEWER, VALUES, slab_values
from ..space import Shape, canonical_grid
from ..volume import Volume
from ..weights import Model, channels
from .compat import rules_of
from .options import Options

WIDTH = {"fp32": 4, "bf16": 2}  # bytes
SLABS = 32  # temporary slabs at a time, of as many values as a thin one has
WIDEST = 120  # temporary values for each voxel of a slab: `unet`, its first level
THINNEST = 12  # planes of a slab, however little it may hold: four, a halo on both sides, twice as fine
CODE = 160e6  # bytes that libraries take once they compute, and what is freed and not given back
SCAN = 8  # bytes for each voxel of a scan that is read: as stored, and as a number
GRID = 24  # bytes for each voxel of the 1 mm grid, while a scan is prepared
AROUND = 12  # and for each voxel that the network sees: the first result, their mean, what is written

Outline = tuple[Shape, np.ndarray]  # shape and affine


@dataclass(frozen=True)
class Budget:
    """A way to run that fits.

    Parameters
    ----------
    precision : str
        ``fp32`` or ``bf16``, or ``auto``.
    values : int
        Temporary values in one slab.
    peak : float
        GB of the whole process, as predicted.
    """

    precision: str
    values: int
    peak: float


def budget(
    scans: Sequence[Outline],
    model: Model,
    how: Options,
    *,
    loaded: bool = False,
    segmenter: Model | None = None,
    finder: Model | None = None,
) -> Budget:
    """The first way to run that stays below the limit: as asked; in thin slabs, which changes nothing but the time; in
    bf16 as well, unless the precision was chosen or an original is to be repeated.

    Parameters
    ----------
    scans : sequence of (shape, affine)
        Of one exam.
    model : Model
    how : Options
    loaded : bool
        The scans are in memory already.
    segmenter : Model, optional
        Which then looks at the result.
    finder : Model, optional
        Which looks for lesions, with the T1 there already.

    Raises
    ------
    UsageError
        If there is a limit and a network does not say what it holds.
    SetupError
        E806 if nothing fits.
    """
    if how.max_memory is None or not scans:
        return Budget(how.precision, slab_values(), math.nan)
    exact = "fp32" if rules_of(model, how.compat) else choose_precision("auto", choose_device(how.device))
    asked = exact if how.precision == "auto" else how.precision
    for each in filter(None, (model, segmenter, finder)):
        if not hasattr(each.network, "held"):
            raise UsageError(f"{each.card['name']} does not say how much memory it takes; leave out --max-memory.")
    ways = [(asked, VALUES), (asked, FEWER)]
    if how.precision == "auto" and not rules_of(model, how.compat):
        ways.append(("bf16", FEWER))
    peaks = [peak(scans, model, how, *way, loaded=loaded, segmenter=segmenter, finder=finder) / 1e9 for way in ways]
    for way, gb in zip(ways, peaks, strict=True):
        if gb <= how.max_memory:
            return Budget(*way, gb)
    raise SetupError(
        f"E806 this image needs about {min(peaks):.1f} GB, --max-memory allows {how.max_memory:g}; "
        "allow more, or crop it to the head."
    )


def peak(
    scans: Sequence[Outline],
    model: Model,
    how: Options,
    precision: str,
    values: int,
    *,
    loaded: bool = False,
    segmenter: Model | None = None,
    finder: Model | None = None,
) -> float:
    """Bytes that this process will hold at most, as it stands now and with all that is to come.

    Of the head nothing is known yet: the whole field of view counts, which is too much where it is wide.

    Parameters
    ----------
    scans, model, how, loaded, segmenter, finder
        As for `budget`.
    precision : {"fp32", "bf16"}
    values : int
        Temporary values in one slab.
    """
    multiple = int(getattr(model.network, "multiple", 1))
    stored = [math.prod(shape) for shape, _ in scans]
    grids = [canonical_grid(Volume(torch.empty(1, 1, 1, 1).expand(1, *shape), affine))[0] for shape, affine in scans]
    grid = max(math.prod(shape) for shape in grids)
    grown = max(([-(-n // multiple) * multiple for n in shape] for shape in grids), key=math.prod)
    seen, plane = math.prod(grown), math.prod(grown[1:])
    several = channels(model)
    inputs = several * (2 if model.card.get("reliability") else 1)
    held = float(model.network.held(WIDTH[precision])) + AROUND + (4 * inputs if how.flip else 0)  # pyright: ignore
    slabs = min(max(values * SLABS, THINNEST * WIDEST * plane), WIDEST * seen) * WIDTH[precision]
    network = held * seen + slabs + grid
    for other in filter(None, (segmenter, finder)):  # and the T1 beside it
        network = max(network, _naming(other, how, precision) * 1.1 * seen + slabs + 5 * grid)
    kept = 0 if loaded else SCAN * sum(stored)
    return resident() + CODE + kept + max(network, GRID * grid) + 4 * grid * (max(len(scans), several) - 1)


def _naming(segmenter: Model, how: Options, precision: str) -> float:
    """Bytes for each voxel while structures are named: what the network gives, twice, and what it gave before."""
    held = float(segmenter.network.held(WIDTH[precision]))  # pyright: ignore
    given = len(segmenter.card["labels"]) * (2 * WIDTH[precision] + 4)
    earlier = len(segmenter.card["labels"]) * 2 if how.flip else 0
    return 8 + earlier + max(held, given)


def resident() -> float:
    """Bytes that this process holds now; where the system does not tell, the most that it ever held."""
    return _status("VmRSS") or most_resident() or 0.0


def most_resident() -> float | None:
    """The most bytes that this process ever held; None where the system does not tell."""
    if held := _status("VmHWM"):  # of this process alone: what getrusage says begins with the process it was started by
        return held
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB elsewhere
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _status(field: str) -> float | None:
    """Bytes that Linux says of this process; None elsewhere."""
    try:
        found = re.search(rf"^{field}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return float(found[1]) * 1024 if found else None
