"""In place of ``mri_synthsr``: the same scans from the same arguments, the same names of outputs.

What only crashed there, or said "saved" and saved nothing, is not repeated: every scan ends in an outcome.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import io
from ..errors import NothingFound, UsageError
from ..io.names import is_ours, suffix
from ..io.target import WRITABLE
from ..weights import collected, own_folder
from ..weights.original import CARDS, missing
from .batch import Listeners
from .options import Options
from .outcome import Summary
from .plan import Job, refuse_collisions, refuse_harm
from .scans import predict_jobs

WORD = "_synthsr"


def predict_synthsr(given: str, output: str, options: Options, listeners: Listeners | None = None) -> Summary:
    """Synthesise a T1 for each scan, as `predict_scans` does, under the names that ``mri_synthsr`` gives.

    Parameters
    ----------
    given, output : str
        See `plan_synthsr`.
    options : Options
    listeners : Listeners, optional
    """
    return predict_jobs(plan_synthsr(given, output), options, listeners)


def weights(model: str | None = None, *, v1: bool = False, lowfield: bool = False) -> str:
    """Which model is meant: the one that is named, else that of 2021, of low field, or the general one of 2023.

    Raises
    ------
    SetupError
        E904 the weights are not there: where to get them.
    """
    if model is not None:
        return model
    kind = "v1" if v1 else "lowfield" if lowfield else "v2"
    if CARDS[kind].name not in collected():
        raise missing(kind, own_folder())
    return CARDS[kind].name


def plan_synthsr(given: str, output: str) -> list[Job]:
    """Pair each scan with its output.

    Parameters
    ----------
    given : str
        A scan, a folder whose scans are taken but not those of its folders, or a ``.txt`` list, one path in each line.
    output : str
        An image or a folder for one scan, a folder for a folder, a ``.txt`` list of as many paths for a list.

    Raises
    ------
    NothingFound
        If there is no scan, or no list.
    UsageError
        If input and output do not go together, or an output would harm a scan or another output.
    """
    source, target = Path(given), Path(output)
    listed = source.suffix == ".txt"
    if listed != (target.suffix == ".txt"):
        raise UsageError("--i and --o must both be .txt lists, or neither; give such a pair.")
    if listed:
        pairs = _lists(source, target)
    elif source.is_dir():
        if suffix(target):
            raise UsageError(f"--i is a folder, so --o must be one, not {io.escape(target.name)!r}; give a folder.")
        images = sorted(p for p in source.iterdir() if suffix(p) in WRITABLE and not p.name.startswith("."))
        pairs = [(image, target / _named(image)) for image in images]
    else:
        pairs = [(source, target if suffix(target) else target / _named(source))]
    if not pairs or not any(os.path.lexists(scan) for scan, _ in pairs):
        raise NothingFound(f"no scan in {io.escape(given)}; give a scan, a folder of scans or a .txt list.")
    ours = {scan for scan, _ in pairs if source.is_dir() and is_ours(scan)}
    jobs = [Job(scan, out, io.escape(scan.name), ours=scan in ours) for scan, out in pairs]
    work = [job for job in jobs if not job.ours]
    refuse_collisions(work)
    refuse_harm(work)
    return jobs


def _named(scan: Path) -> str:
    """``a.nii.gz`` becomes ``a_synthsr.nii.gz``."""
    end = scan.name[len(scan.name) - len(suffix(scan)) :]
    return scan.name[: len(scan.name) - len(end)] + WORD + (end if suffix(scan) in WRITABLE else WRITABLE[0])


def _lists(source: Path, target: Path) -> list[tuple[Path, Path]]:
    scans, outputs = _lines(source), _lines(target)
    if len(scans) != len(outputs):
        raise UsageError(f"--i lists {len(scans)} scans and --o {len(outputs)} outputs; give as many.")
    return list(zip(scans, outputs, strict=True))


def _lines(path: Path) -> list[Path]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise NothingFound(f"{io.escape(path.name)} cannot be read; give a text file, one path in each line.") from None
    return [Path(line) for line in text.splitlines() if line.strip()]
