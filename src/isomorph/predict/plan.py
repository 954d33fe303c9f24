"""Which scans, which of them belong together, and where each result goes; decided before any work."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import io
from ..errors import NothingFound, UsageError
from ..io.names import bare, suffix

MADE = "_desc-synth_T1w"  # what the name of a T1 has more than that of its scan
ENDING = f"{MADE}.nii.gz"
SHARPENED = "_desc-synth.nii.gz"  # in the contrast of the scan, whichever that is
MASKED = "_desc-lesions_mask.nii.gz"
LABELLED = "_desc-synth_dseg.nii.gz"  # a discrete segmentation, in the words of BIDS
MISSING = "-"  # in the place of a scan of an exam that there is not
OURS = "E505 the image was made by isomorph; give the original scan"
Inputs = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Job:
    """One scan, or one exam, and its place.

    Parameters
    ----------
    source, target : Path
        Of an exam, the first scan.
    name : str
        Of the scan, relative to the folder that was given; safe in one line of a log.
    root : Path, optional
        Folder that the output must stay in.
    ours : bool
        An image that isomorph made and that was found in a folder: to be skipped.
    exam : tuple of Path or None
        All scans of an exam in their order, None where one is missing; empty for a scan by itself.
    """

    source: Path
    target: Path
    name: str
    root: Path | None = None
    ours: bool = False
    exam: tuple[Path | None, ...] = ()

    @property
    def sources(self) -> list[Path]:
        """Every scan that is there."""
        return [path for path in self.exam if path] or [self.source]

    @property
    def output(self) -> str:
        """The target, relative to the folder that was given; safe in one line of a log."""
        return io.escape(self.target.relative_to(self.root) if self.root else self.target.name)


def gather(inputs: Inputs) -> tuple[list[Path], list[Path]]:
    """Scans in files and folders, and what isomorph itself wrote into these folders.

    Raises
    ------
    NothingFound
        If there is no image.
    """
    said = ", ".join(io.escape(os.fspath(i)) for i in inputs)
    if not any(os.path.lexists(path) for path in inputs):
        raise NothingFound(f"no such file or folder: {said}; check the path.")
    sources, ours = io.survey(inputs)
    if not sources and not ours:
        raise NothingFound(f"no image in {said}; give scans or their folder, and convert DICOM to NIfTI first.")
    return sources, ours


def plan(inputs: Inputs, output: str | os.PathLike[str], ending: str = ENDING, *, exams: bool = False) -> list[Job]:
    """Pair scans with outputs: one file gives one file, several files or a folder a mirrored folder.

    Several files and one output file are the scans of one exam; with `exams`, so are the scans that lie in one folder.

    Parameters
    ----------
    inputs : paths of images or folders
    output : path
        Of an image for one scan or one exam, else of a folder. What ends with a slash is a folder.
    ending : str
        Of the names in a folder, in place of that of the scan.
    exams : bool
        The inputs are folders, and each folder that directly holds scans, they or one below, is an exam.

    Raises
    ------
    NothingFound
        If there is no image.
    UsageError
        If two scans would have one output, an output would harm another input, a folder was given one file, or an exam
        has one scan twice.
    """
    if exams:
        return _exams(inputs, Path(output), ending, folder=_is_folder(output))
    if _one_exam(inputs, output):
        return [_exam(inputs, Path(output))]
    return _each(inputs, output, *gather(inputs), ending)


def plan_t1s(inputs: Inputs, output: str | os.PathLike[str]) -> list[Job]:
    """Pair T1s with their labels, as `plan` pairs scans with T1s; of what isomorph made, T1s are taken.

    A scan that lies in a folder beside the T1 that was made of it is left out.

    Parameters
    ----------
    inputs, output
        As for `plan`.

    Raises
    ------
    NothingFound, UsageError
        As `plan`.
    """
    images, ours = gather(inputs)
    t1s = [path for path in ours if _is_t1(path)]
    others = [path for path in ours if path not in t1s]
    named = {Path(i) for i in inputs}
    made_of = {path.parent / _stem(path, MADE) for path in t1s if _stem(path).endswith(MADE)}
    images = [path for path in images if path in named or path.parent / _stem(path) not in made_of]
    return _each(inputs, output, sorted({*images, *t1s}), others, LABELLED, made=MADE)


def _stem(path: Path, made: str = "") -> str:
    """A name without its suffix; `made` is what that of a synthetic T1 loses."""
    return bare(path).removesuffix(made)


def _is_t1(path: Path) -> bool:
    """Whether an image of isomorph is a T1: its JSON says so, or its name, where that is lost."""
    said = io.sidecar(path).get("output")
    return said.get("contrast") == "T1" if isinstance(said, dict) else MADE in path.name


def _each(
    inputs: Inputs, output: str | os.PathLike[str], sources: list[Path], ours: list[Path], ending: str, made: str = ""
) -> list[Job]:
    """One job for each image; what isomorph made is to be skipped."""
    folders = [Path(i) for i in inputs if Path(i).is_dir()]
    if not (folders or len(inputs) > 1 or _is_folder(output)):
        return [Job(sources[0], Path(output), io.escape(sources[0].name))]
    if suffix(output):
        _something(sources, inputs)
        said = io.escape(Path(output).name)
        raise UsageError(f"several scans, or those of a folder, need a folder as output, not {said!r}; give one.")
    jobs = [_mirrored(source, folders, Path(output), ending, made) for source in sources]
    refuse_collisions(jobs)
    refuse_harm(jobs)
    return jobs + [replace(_mirrored(source, folders, Path(output), ending), ours=True) for source in ours]


def _something(sources: list[Path], inputs: Inputs) -> None:
    if not sources:
        raise NothingFound(f"no scan in {', '.join(io.escape(os.fspath(i)) for i in inputs)}; {OURS.split(' ', 1)[1]}.")


def labelled(job: Job, given: str | None) -> Path | None:
    """Where the labels of a scan go: into the file that was given or, where T1s go into a folder, into a folder too.

    Parameters
    ----------
    job : Job
    given : str, optional
        By `--segmentation`.

    Raises
    ------
    UsageError
        If it is a file, and T1s go into a folder.
    """
    return _beside(job, given, "--segmentation", LABELLED)


def masked(job: Job, given: str | None) -> Path | None:
    """Where the mask of the lesions of a scan goes, as `labelled` says of its labels.

    Parameters
    ----------
    job : Job
    given : str, optional
        By `--write-lesion-mask`.

    Raises
    ------
    UsageError
        As `labelled`.
    """
    return _beside(job, given, "--write-lesion-mask", MASKED)


def _beside(job: Job, given: str | None, flag: str, ending: str) -> Path | None:
    if given is None or job.root is None:
        return None if given is None else Path(given)
    if suffix(given):
        raise UsageError(f"{flag} is the file {io.escape(Path(given).name)!r}; T1s in a folder need a folder.")
    beside = job.target.with_name(f"{job.target.name.removesuffix(ENDING)}{ending}")
    return Path(given) / beside.relative_to(job.root)


def _one_exam(inputs: Inputs, output: str | os.PathLike[str]) -> bool:
    files = len(inputs) > 1 and not any(Path(i).is_dir() for i in inputs)
    return files and bool(suffix(output)) and not _is_folder(output)


def _is_folder(output: str | os.PathLike[str]) -> bool:
    return Path(output).is_dir() or os.fspath(output).endswith(("/", os.sep))


def _exam(inputs: Inputs, output: Path) -> Job:
    given = [i for i in inputs if os.fspath(i) != MISSING]
    if not given:
        raise UsageError("an exam without a scan; give one or more.")
    sources, _ = gather(given)
    if len({os.path.realpath(path) for path in sources}) < len(given):
        raise UsageError("a scan of the exam was given twice; give each once.")
    scans = tuple(None if os.fspath(i) == MISSING else Path(i) for i in inputs)
    name = io.escape(sources[0].name)
    return Job(sources[0], output, name if len(sources) == 1 else f"{name} and {len(sources) - 1} more", exam=scans)


def _exams(inputs: Inputs, output: Path, ending: str, *, folder: bool) -> list[Job]:
    """One job for each folder that directly holds scans, and its T1 under the name of that folder."""
    sources, ours = gather(inputs)
    if named := next((path for path in inputs if not Path(path).is_dir()), None):
        raise UsageError(
            f"--exams takes folders, {io.escape(Path(named).name)!r} is none; give the folder of the exams."
        )
    once: defaultdict[Path, dict[str, Path]] = defaultdict(dict)
    for source in sources:
        once[source.parent].setdefault(os.path.realpath(source), source)  # a link beside its scan is no other scan
    together = {place: list(scans.values()) for place, scans in once.items()}
    if suffix(output) and not folder:
        _something(sources, inputs)
        if len(together) != 1:
            said = io.escape(output.name)
            raise UsageError(f"{len(together)} exams need a folder as output, not {said!r}; give one.")
        return [_exam(scans, output) for scans in together.values()]
    folders, jobs = [Path(i) for i in inputs], []
    for place, scans in together.items():
        root = next(f for f in folders if place.is_relative_to(f))
        relative = Path(root.resolve().name) if place == root else place.relative_to(root)
        target = output / relative.parent / f"{relative.name}{ending}"
        jobs.append(Job(scans[0], target, io.escape(relative), output, exam=tuple(scans)))
    refuse_collisions(jobs)
    refuse_harm(jobs)
    return jobs + [replace(_mirrored(source, folders, output, ending), ours=True) for source in ours]


def _mirrored(source: Path, folders: list[Path], output: Path, ending: str, made: str = "") -> Job:
    """In the same folder below `output`, with another ending; `made` is what the name of a synthetic T1 loses."""
    root = next((f for f in folders if source.is_relative_to(f)), source.parent)
    relative = source.relative_to(root)
    return Job(source, output / relative.parent / f"{_stem(source, made)}{ending}", io.escape(relative), output)


def refuse_collisions(jobs: list[Job]) -> None:
    """No output may be another, nor share its JSON; some file systems take A and a for one name, so we do too."""
    same: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        same[os.fspath(io.sidecar_path(job.target)).casefold()].append(job)
    for clash in same.values():
        if len(clash) > 1:
            names = " and ".join(io.escape(job.source) for job in clash[:4])
            same_image = len({job.target.name.casefold() for job in clash}) == 1
            target = clash[0].target if same_image else io.sidecar_path(clash[0].target)
            said = f"{'become' if same_image else 'have the JSON'} {io.escape(target.name)}"
            raise UsageError(f"{names} would both {said}; rename one, or run them apart.")


def refuse_harm(jobs: list[Job]) -> None:
    """No output may be another input, nor share its JSON."""
    guard = io.Guard(source for job in jobs for source in job.sources)
    for job in jobs:
        if (harmed := guard.harmed(job.target)) is not None:
            names = f"the output of {io.escape(job.source.name)} would replace the input {io.escape(harmed.name)}"
            raise UsageError(f"{names} or its JSON; choose another output folder, or run them apart.")
