"""What is written beside each image: how it was made, by what, from what; no path, user or host."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import io
from ..io import Scan
from ..weights import Model
from . import uncertainty
from .compat import rules_of
from .options import Options
from .plan import Job
from .quality import THRESHOLD
from .restore import TOP, WHITE_MATTER
from .synthesise import Result

SCHEMA = 1
# Options without which the result might be another.
MATTERS = ("ct", "flip", "precision", "strict", "compat", "sharpen", "lesions", "grid", "max_memory")
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
    asked = asdict(options)
    for path in ("model", "lesion_mask", "uncertainty"):  # a path is nobody's business
        asked[path] = asked[path] and Path(asked[path]).name
    there = [scan for scan in scans if scan]
    reference = scans[result.reference] or there[0]
    warnings = [asdict(n) for scan in there for n in scan.warnings] + [asdict(n) for n in result.notices]
    name = io.escape(_file(job, result.reference).name) if job.exam else job.name
    rules = rules_of(model, options.compat)
    return {
        "schema": SCHEMA,
        "status": "done_with_warnings" if warnings else "done",
        "synthetic": True,
        "contains_face": True,  # a full head can be recognised, synthetic or not
        "notice": "Synthetic image, not a medical device; not anonymous.",
        "warnings": warnings,
        "quality": {"value": result.quality, "threshold": THRESHOLD},
        "input": {"file": name, **reference.source},
        "exam": [_part(job, scans, result, k) for k in range(len(result.parts))],
        "output": {
            "range": [round(float(result.volume.data.min()), 4), round(float(result.volume.data.max()), 4)],
            "white_matter": rules.white_matter if rules else WHITE_MATTER,
            "clipped_to": [0.0, rules.top if rules else TOP],
        },
        "window": list(result.window),
        "model": {"name": model.card["name"], "sha256": model.sha256},
        "options": asked,
        "device": result.device,
        "precision": result.precision,
        "threads": result.threads,
        "seconds": result.seconds,
        "peak_rss_mb": peak_rss(),
        "seed": None,  # nothing is random
        "fingerprint": fingerprint([scan and scan.source["sha256"] for scan in scans], model, options),
        "versions": {package: version(package) for package in PACKAGES},
    }


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
        "window": list(part.window),
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
    same = ("schema", "synthetic", "contains_face", "notice", "input", "exam", "model", "fingerprint", "versions")
    said = f"the T1 plus or minus this holds the truth in {uncertainty.LEVEL:.0%} of voxels like those measured"
    return {key: sidecar[key] for key in same} | {
        "status": "done",
        "of": io.escape(job.target.name),
        "uncertainty": {"says": said, "level": uncertainty.LEVEL, "from": kind, "factor": uncertainty.FACTOR[kind]},
    }


def fingerprint(sha256: Sequence[str | None], model: Model, options: Options) -> str:
    """What decides about a result: the scans, the model, the version and the options that matter.

    Parameters
    ----------
    sha256 : sequence of str or None
        Of each scan of an exam, or of the one scan.
    model : Model
    options : Options
    """
    facts: dict[str, Any] = {
        "input": list(sha256),
        "model": model.sha256,
        "version": version("isomorph"),
        "schema": SCHEMA,
    }
    facts |= {name: getattr(options, name) for name in MATTERS}
    facts |= {"uncertainty": options.uncertainty is not None}
    facts |= {"lesion_mask": io.digest(options.lesion_mask) if options.lesion_mask else None}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def done_before(job: Job, model: Model, options: Options) -> bool:
    """Whether an output is there, whole, and what this run would make: that it is there proves nothing.

    Parameters
    ----------
    job : Job
    model : Model
    options : Options
    """
    content = io.sidecar(job.target)
    if content.get("tool") != "isomorph" or "fingerprint" not in content or not io.described(job.target, content):
        return False
    if options.uncertainty:
        beside = io.sidecar(options.uncertainty)
        if beside.get("fingerprint") != content["fingerprint"] or not io.described(options.uncertainty, beside):
            return False
    digests = [path and io.digest(path) for path in job.exam or (job.source,)]
    return content["fingerprint"] == fingerprint(digests, model, options)


def peak_rss() -> float | None:
    """Most memory that this process has held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
