"""What is written beside each image: how it was made, by what, from what; no path, user or host."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..io import Scan
from ..weights import Model
from .options import Options
from .restore import TOP, WHITE_MATTER
from .synthesise import Result

SCHEMA = 1
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
        "versions": {package: version(package) for package in PACKAGES},
    }
