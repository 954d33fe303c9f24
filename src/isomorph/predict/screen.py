"""Would these scans be accepted? Reads, judges, computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import io
from .outcome import exit_code
from .plan import OURS, Inputs, gather


@dataclass(frozen=True)
class Judged:
    """The verdict on one file, ready to print.

    Parameters
    ----------
    name : str
        As the user knows the file, control characters escaped.
    verdict : Verdict
    """

    name: str
    verdict: io.Verdict

    @property
    def table(self) -> dict[str, Any]:
        """Ready for JSON: file, outcome, codes, messages."""
        return asdict(self.verdict) | {"file": self.name}

    @property
    def line(self) -> str:
        """The verdict in one line."""
        reasons = "; ".join(self.verdict.messages)
        return f"{self.verdict.outcome}: {self.name}" + (f": {reasons}" if reasons else "")


class Screening:
    """Verdicts, one after the other; `exit_code` once all are drawn."""

    def __init__(self, paths: list[Path], ours: list[Path], ct: bool) -> None:
        self._paths, self._ours, self._ct = paths, ours, ct
        self._refused = self._seen = 0

    def __iter__(self) -> Iterator[Judged]:
        for path in self._paths:
            verdict = io.check(path, ct=self._ct)
            self._seen += 1
            self._refused += verdict.outcome == "refuse"
            yield Judged(io.escape(path), verdict)
        for path in self._ours:
            self._seen += 1
            yield Judged(io.escape(path), io.Verdict(io.escape(path.name), "skip", ["E505"], [OURS]))

    @property
    def exit_code(self) -> int:
        """0 if none was refused, 5 if all were, else 4."""
        return exit_code(self._refused, self._seen)


def screen(paths: Inputs, *, ct: bool = False) -> Screening:
    """Judge scans one by one, as they are drawn.

    Parameters
    ----------
    paths : images or folders
    ct : bool
        The scans are CT.

    Raises
    ------
    NothingFound
        If there is no image.
    """
    return Screening(*gather(paths), ct)
