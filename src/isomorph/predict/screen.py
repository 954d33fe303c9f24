"""Would these scans be accepted? Reads, judges, computes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import io
from ..errors import NothingFound


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

    def __init__(self, paths: Sequence[os.PathLike[str]], ct: bool) -> None:
        self._paths, self._ct = paths, ct
        self._refused = self._seen = 0

    def __iter__(self) -> Iterator[Judged]:
        for path in self._paths:
            verdict = io.check(path, ct=self._ct)
            self._seen += 1
            self._refused += verdict.outcome == "refuse"
            yield Judged(io.escape(path), verdict)

    @property
    def exit_code(self) -> int:
        """0 if none was refused, 5 if all were, else 4."""
        return 0 if not self._refused else 5 if self._refused == self._seen else 4


def screen(paths: Sequence[str | os.PathLike[str]], *, ct: bool = False) -> Screening:
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
    found = io.find(paths) if any(os.path.lexists(path) for path in paths) else []
    if not found:
        raise NothingFound(
            f"no image in {', '.join(io.escape(os.fspath(p)) for p in paths)}; give scans or their folder."
        )
    return Screening(found, ct)
