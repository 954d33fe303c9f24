"""What is written beside each image: how it was made, by what, from what; no path, user or host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import io
from ..errors import Refusal
from ..io import Scan
from ..labels import LABELS
from ..weights import Model, sharpens
from . import uncertainty
from .compat import rules_of
from .find import Lesions
from .memory import most_resident
from .options import Options
from .plan import Job, labelled, masked
from .quality import THRESHOLD
from .restore import TOP, WHITE_MATTER
from .segment import Segmentation
from .synthesise import Result

SCHEMA = 2  # exams whose T1 leads, W607, a floor of uncertainty in all of the air
NOTICE = "Synthetic image, not a medical device; not anonymous."
# Options without which the result might be another.
MATTERS = ("ct", "flip", "precision", "strict", "compat", "sharpen", "lesions", "grid", "max_memory")
PATHS = (
    "model", "lesion_mask", "write_lesion_mask", "finder", "uncertainty", "segmentation", "volumes", "segmenter",
)  # fmt: skip
SHARED = ("schema", "synthetic", "contains_face", "notice", "input", "exam", "model", "fingerprint", "versions")
PACKAGES = ("isomorph", "torch", "numpy", "nibabel", "safetensors")


def provenance(
    job: Job, scans: Sequence[Scan | None], result: Result, model: Model, options: Options
) -> dict[str, Any]:
    """Content of the sidecar, ready for JSON.

    Parameters
    ----------
    job : Job
    scans : sequence of Scan or None
        All scans of an exam, None where one is missing; else the one scan.
    result : Result
    model : Model
    options : Options
    """
    there = [scan for scan in scans if scan]
    reference = scans[result.reference] or there[0]
    warnings = [asdict(n) for scan in there for n in scan.warnings] + [asdict(n) for n in result.notices]
    name = io.escape(_file(job, result.reference).name) if job.exam else job.name
    rules, own = rules_of(model, options.compat), sharpens(model.card)
    digests = [scan.source["sha256"] if scan else _digest(path) for path, scan in zip(_files(job), scans, strict=True)]
    return {
        "schema": SCHEMA,
        "status": status_of(warnings),
        "synthetic": True,
        "contains_face": True,  # a full head can be recognised, synthetic or not
        "notice": NOTICE,
        "warnings": warnings,
        "quality": {"value": result.quality, "threshold": THRESHOLD},
        "input": {"file": name, **reference.source},
        "exam": [_part(job, scans, result, k) for k in range(len(result.parts))],
        "output": {
            "range": [round(float(result.volume.data.min()), 4), round(float(result.volume.data.max()), 4)],
            "contrast": "of the input" if own else "T1",
            "white_matter": None if own else rules.white_matter if rules else WHITE_MATTER,
            "clipped_to": None if own else [0.0, rules.top if rules else TOP],
        },
        "segmentation": result.segmentation and _measured(result.segmentation),
        "lesions": result.lesions and _seen(result.lesions),
        "window": list(result.window),
        "model": {"name": model.card["name"], "sha256": model.sha256},
        "options": asked_for(options),
        **circumstances(result.device, result.precision, result.threads, result.seconds),
        "fingerprint": fingerprint(digests, model, options, *_networks(result)),
    }


def _networks(result: Result) -> tuple[str | None, str | None]:
    """SHA-256 of those that named structures and found lesions."""
    named, seen = result.segmentation, result.lesions
    return named and named.sha256, (seen and seen.sha256) or None


def status_of(warnings: Sequence[object]) -> str:
    """Of a job that has its outputs."""
    return "done_with_warnings" if warnings else "done"


def asked_for(options: Options) -> dict[str, Any]:
    """The options as they were given; of paths the names, for the rest is nobody's business."""
    said = asdict(options)
    return said | {path: said[path] and Path(said[path]).name for path in PATHS}


def circumstances(device: str, precision: str, threads: int, seconds: dict[str, float]) -> dict[str, Any]:
    """On what, how fast, by which versions."""
    held = most_resident()
    return {
        "device": device,
        "precision": precision,
        "threads": threads,
        "seconds": seconds,
        "peak_rss_mb": held and round(held / 1e6, 1),
        "seed": None,  # nothing is random
        "versions": {package: version(package) for package in PACKAGES},
    }


def _files(job: Job) -> Sequence[Path | None]:
    return job.exam or (job.source,)


def _digest(path: Path | None) -> str | None:
    """Of a scan of an exam; None for one that there is not, or that cannot even be opened and was left out."""
    try:
        return path and io.digest(path)
    except Refusal:
        return None


def _file(job: Job, index: int) -> Path:
    return (job.exam[index] if job.exam else None) or job.source


def _part(job: Job, scans: Sequence[Scan | None], result: Result, k: int) -> dict[str, Any]:
    """What became of one scan of an exam."""
    part = result.parts[k]
    scan = scans[part.index]
    return {
        "file": io.escape(_file(job, part.index).name),
        "sha256": scan and scan.source["sha256"],
        "reference": part.index == result.reference,
        "affine": part.affine.tolist(),
        "moved_mm": part.moved,
        "agreement": part.agreement,
        "share": part.share,
        "window": part.window and list(part.window),
    }


def about(job: Job, sidecar: dict[str, Any], model: Model) -> dict[str, Any]:
    """Content of the sidecar of the map of uncertainty.

    Parameters
    ----------
    job : Job
    sidecar : dict
        Of the T1.
    model : Model
    """
    kind = "laplace" if uncertainty.speaks(model.card) else "spread"
    said = f"the T1 plus or minus this holds the truth in {uncertainty.LEVEL:.0%} of voxels like those measured"
    return _beside(job, sidecar) | {
        "uncertainty": {"says": said, "level": uncertainty.LEVEL, "from": kind, "factor": uncertainty.FACTOR[kind]},
    }


def _beside(job: Job, sidecar: dict[str, Any]) -> dict[str, Any]:
    """What the sidecar of any image beside the T1 says of where it came from."""
    return {key: sidecar[key] for key in SHARED} | {"status": "done", "of": io.escape(job.target.name)}


def about_labels(job: Job, sidecar: dict[str, Any], found: Segmentation) -> dict[str, Any]:
    """Content of the sidecar of the labels.

    Parameters
    ----------
    job : Job
    sidecar : dict
        Of the T1.
    found : Segmentation
    """
    return _beside(job, sidecar) | {"contains_face": False} | named(found)


def about_lesions(job: Job, sidecar: dict[str, Any]) -> dict[str, Any]:
    """Content of the sidecar of the mask of lesions.

    Parameters
    ----------
    job : Job
    sidecar : dict
        Of the T1.
    """
    return _beside(job, sidecar) | {"contains_face": False, "lesions": sidecar["lesions"]}


def _seen(lesions: Lesions) -> dict[str, Any]:
    """What is said of lesions."""
    model = {"name": lesions.model, "sha256": lesions.sha256} if lesions.model else None
    return {"from": "model" if model else "mask", "model": model, "volume_mm3": lesions.volume}


def named(found: Segmentation) -> dict[str, Any]:
    """What any sidecar of labels says of them."""
    numbers = found.labels.data.unique().tolist()
    return {
        "labels": {str(number): LABELS[number].name for number in numbers},
        "segmentation": _measured(found),
    }


def _measured(found: Segmentation) -> dict[str, Any]:
    """What is said of a segmentation; sizes by the names of the structures."""
    return {
        "model": {"name": found.model, "sha256": found.sha256},
        "volumes_mm3": found.volumes,
        "brain_mm3": found.brain,
        "intracranial_mm3": found.intracranial,
        "intracranial": "estimated from the brain",
        "cut": list(found.cut),
        "middle": {"normal": found.plane.normal.tolist(), "offset_mm": found.plane.offset},
    }


def fingerprint(
    sha256: Sequence[str | None],
    model: Model,
    options: Options,
    segmenter: str | None = None,
    finder: str | None = None,
) -> str:
    """What decides about a result: the scans, the model, the version and the options that matter.

    Parameters
    ----------
    sha256 : sequence of str or None
        Of each scan of an exam, or of the one scan.
    model : Model
    options : Options
    segmenter, finder : str, optional
        SHA-256 of the network that names structures, and of the one that finds lesions, where there is one.
    """
    facts: dict[str, Any] = {"input": list(sha256), "model": model.sha256}
    facts |= {name: getattr(options, name) for name in MATTERS}
    facts |= {"uncertainty": options.uncertainty is not None}
    facts |= {"segmenter": segmenter} if segmenter else {}
    facts |= {"finder": finder} if finder else {}
    facts |= {"lesion_mask": io.digest(options.lesion_mask) if options.lesion_mask else None}
    return digested(facts)


def digested(facts: dict[str, Any]) -> str:
    """The fingerprint of what decides about a result, beside this version."""
    facts |= {"version": version("isomorph"), "schema": SCHEMA}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def done_before(
    job: Job, model: Model, options: Options, segmenter: Model | None = None, finder: Model | None = None
) -> bool:
    """Whether an output is there, whole, and what this run would make: that it is there proves nothing.

    Parameters
    ----------
    job : Job
    model : Model
    options : Options
    segmenter, finder : Model, optional
    """
    content = io.sidecar(job.target)
    if content.get("tool") != "isomorph" or "fingerprint" not in content or not io.described(job.target, content):
        return False
    also = labelled(job, options.segmentation), masked(job, options.write_lesion_mask)
    for path in (options.uncertainty, *also):
        beside = io.sidecar(path) if path else content
        if path and (beside.get("fingerprint") != content["fingerprint"] or not io.described(path, beside)):
            return False
    digests = [_digest(path) for path in job.exam] if job.exam else [io.digest(job.source)]
    others = segmenter and segmenter.sha256, finder and finder.sha256
    return content["fingerprint"] == fingerprint(digests, model, options, *others)
