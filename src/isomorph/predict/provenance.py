"""What is written beside each image: how it was made, by what, from what; no path, user or host."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import io
from ..io import Scan
from ..weights import Model
from .options import Options
from .restore import TOP, WHITE_MATTER
from .synthesise import Result

SCHEMA = 1
MATTERS = ("ct", "flip", "precision", "strict")  # options without which the result might be another
PACKAGES = ("isomorph", "torch", "numpy", "nibabel", "safetensors")


def provenance(name: str, scan: Scan, result: Result, model: Model, options: Options) -> dict[str, Any]:
    """Content of the sidecar, ready for JSON.

    Parameters
    ----------
    name : str
        Of the scan, relative to the folder that was given.
    scan : Scan
    result : Result
    model : Model
    options : Options
    """
    asked = asdict(options)
    asked["model"] = Path(options.model).name
    return {
        "schema": SCHEMA,
        "status": "done_with_warnings" if scan.warnings else "done",
        "synthetic": True,
        "contains_face": True,  # a full head can be recognised, synthetic or not
        "notice": "Synthetic image, not a medical device; not anonymous.",
        "warnings": [asdict(notice) for notice in scan.warnings],
        "input": {"file": name, **scan.source},
        "output": {
            "range": [round(float(result.volume.data.min()), 4), round(float(result.volume.data.max()), 4)],
            "white_matter": WHITE_MATTER,
            "clipped_to": [0.0, TOP],
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
        "fingerprint": fingerprint(scan.source["sha256"], model, options),
        "versions": {package: version(package) for package in PACKAGES},
    }


def fingerprint(sha256: str, model: Model, options: Options) -> str:
    """What decides about a result: the scan, the model, the version and the options that matter.

    Parameters
    ----------
    sha256 : str
        Of the scan.
    model : Model
    options : Options
    """
    facts = {"input": sha256, "model": model.sha256, "version": version("isomorph"), "schema": SCHEMA}
    facts |= {name: getattr(options, name) for name in MATTERS}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def done_before(source: Path, target: Path, model: Model, options: Options) -> bool:
    """Whether an output is there, whole, and what this run would make: that it is there proves nothing.

    Parameters
    ----------
    source, target : Path
    model : Model
    options : Options
    """
    content = io.sidecar(target)
    if content.get("tool") != "isomorph" or "fingerprint" not in content or not io.described(target, content):
        return False
    return content["fingerprint"] == fingerprint(io.digest(source), model, options)


def peak_rss() -> float | None:
    """Most memory that this process has held, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
