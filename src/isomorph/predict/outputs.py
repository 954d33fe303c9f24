"""What is written for one scan or exam: checked before the work; after it all images or none, then a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import io
from ..errors import UsageError
from ..weights import Model
from .compat import rules_of
from .options import Options
from .outcome import Outcome, judged
from .plan import Job, labelled, masked
from .provenance import about, about_labels, about_lesions, provenance
from .synthesise import Result
from .table import add_row, check_table


def guarded(job: Job, options: Options) -> list[Path]:
    """Files that must never be written to.

    Parameters
    ----------
    job : Job
    options : Options
    """
    return [*job.sources, *([Path(options.lesion_mask)] if options.lesion_mask else [])]


def beside(job: Job, options: Options) -> dict[str, Path]:
    """Images that are asked for beside the T1, by the option that names them.

    Parameters
    ----------
    job : Job
    options : Options
    """
    asked = {"--uncertainty": options.uncertainty, "--segmentation": labelled(job, options.segmentation)}
    asked |= {"--write-lesion-mask": masked(job, options.write_lesion_mask)}
    return {flag: Path(path) for flag, path in asked.items() if path}


def check_outputs(job: Job, options: Options) -> None:
    """Everything that can be known to go wrong with the outputs, before the work.

    Parameters
    ----------
    job : Job
    options : Options

    Raises
    ------
    UsageError, Refusal, SetupError
        As `io.check_output`.
    """
    again, inputs = options.overwrite, guarded(job, options)
    io.check_output(job.target, inputs=inputs, overwrite=again, root=job.root)
    taken = [job.target]
    for flag, path in beside(job, options).items():
        if io.Guard(taken).harmed(path) is not None:
            raise UsageError(
                f"{flag} {io.escape(Path(path).name)} is another output too, or shares its JSON; rename it."
            )
        roots = {"--segmentation": options.segmentation, "--write-lesion-mask": options.write_lesion_mask}
        io.check_output(path, inputs=inputs, overwrite=again, root=roots.get(flag) if job.root else None)
        taken.append(path)


def write_outputs(
    job: Job, scans: Sequence[io.Scan | None], result: Result, model: Model, options: Options
) -> dict[str, Any]:
    """Write each image with its sidecar: all of them, or none; then the row of the table, where one is asked for.

    Parameters
    ----------
    job : Job
    scans : sequence of Scan or None
    result : Result
    model : Model
    options : Options

    Returns
    -------
    dict
        The sidecar of the T1.

    Raises
    ------
    Refusal
        Somebody else wrote an output, or took the mask away, in the meantime.
    SetupError
        E703, the disk is full; E702 or E703, the images are there and the row is not.
    """
    rules, inputs = rules_of(model, options.compat), guarded(job, options)
    sidecar = provenance(job, scans, result, model, options)
    more: list[io.Output] = []
    if result.uncertainty and options.uncertainty:
        said = about(job, sidecar, model)
        more.append(io.Output(volume=result.uncertainty, path=options.uncertainty, sidecar=said))
    if result.segmentation and (path := labelled(job, options.segmentation)):
        said, root = about_labels(job, sidecar, result.segmentation), options.segmentation if job.root else None
        labels = result.segmentation.labels
        more.append(io.Output(volume=labels, path=path, sidecar=said, dtype="uint8", root=root))
    if result.lesions and (path := masked(job, options.write_lesion_mask)):
        said, root = about_lesions(job, sidecar), options.write_lesion_mask if job.root else None
        more.append(io.Output(volume=result.lesions.mask, path=path, sidecar=said, dtype="uint8", root=root))
    if options.volumes and result.segmentation:
        check_table(options.volumes, result.segmentation.volumes)  # before anything is written
    dtype = rules.dtype if rules else "float32"
    t1 = io.Output(volume=result.volume, path=job.target, sidecar=sidecar, dtype=dtype, root=job.root)
    io.write_all([*more, t1], overwrite=options.overwrite, inputs=inputs)
    if options.volumes:
        add_row(options.volumes, job, sidecar)
    return sidecar


def outcome_of(job: Job, sidecar: dict[str, Any], seconds: dict[str, float]) -> Outcome:
    """What is told of a job once its outputs are there.

    Parameters
    ----------
    job : Job
    sidecar : dict
        Of its target.
    seconds : dict
        Time of each stage.
    """
    quality, warnings = judged(sidecar)
    message = f"{io.escape(job.target.name)} in {sum(seconds.values()):.1f} s{quality}"
    return Outcome(name=job.name, status=sidecar["status"], message=message, warnings=warnings, seconds=seconds)
