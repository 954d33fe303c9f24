"""The log of a run: one line of JSON each, and curves for TensorBoard where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..place import place

Entry = dict[str, Any]


class Journal:
    """Writes ``log.jsonl`` and, where TensorBoard is installed, ``curves/``.

    Parameters
    ----------
    folder : of the run
    step : to begin after
        What an interrupted run logged beyond its last checkpoint is forgotten, since it will be logged again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = [json.dumps(entry) for entry in entries(self.path) if entry.get("step", 0) <= step]
            place(self.path, "".join(line + "\n" for line in kept).encode())
        self.curves = _curves(folder / "curves", step)

    def write(self, entry: Entry) -> None:
        """Append an entry."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if self.curves:
            for name, value in entry.items():
                if isinstance(value, float):
                    self.curves.add_scalar(name, value, entry["step"])
            self.curves.flush()


def entries(path: Path) -> list[Entry]:
    """What a log holds; a line that a kill cut short is passed over.

    Parameters
    ----------
    path : of a ``log.jsonl``
    """
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def _curves(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra `curves` is not installed
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
