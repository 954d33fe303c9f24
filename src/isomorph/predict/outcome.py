"""What became of each scan, in one line; and of all of them, in one number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import escape

STATUSES = ("done", "done_with_warnings", "skipped", "refused", "failed", "not_run")
BAD = ("refused", "failed")
WORDS = {
    0: "all done",
    4: "some refused or failed, the others done",
    5: "all failed",
    6: "this machine cannot do it",
    130: "interrupted",
    143: "interrupted",
}
LINE = 300  # characters, so that a log stays readable


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one scan.

    Parameters
    ----------
    name : str
        Safe in one line of a log.
    status : one of `STATUSES`
    message : str
        Why not, or where the result is; begins with a code if there is one.
    warnings : tuple of str
        Each begins with its code.
    seconds : dict
        Time of each stage.
    """

    name: str
    status: str
    message: str
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The outcome in one line."""
        if self.status in BAD:
            code, _, rest = self.message.partition(" ")
            text = f"ERROR {code} {self.name}: {rest} [not processed]" if code[1:].isdigit() else ""
            text = text or f"ERROR {self.name}: {self.message} [not processed]"
        else:
            text = f"{self.status.replace('_', ' ')}: {self.name}: {self.message}"
            text += f" ({'; '.join(self.warnings)})" if self.warnings else ""
        return text if len(text) <= LINE else text[: LINE - 3] + "..."


@dataclass(frozen=True)
class Summary:
    """What became of all scans.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One for each input.
    exit_code : int
    why : str
        What ended the run before it had seen all of them, where the exit code does not say it.
    """

    outcomes: Sequence[Outcome]
    exit_code: int
    why: str = ""

    @property
    def line(self) -> str:
        """Counts that sum to the number of inputs, and the exit code in words."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        parts = ", ".join(f"{counts[s]} {s.replace('_', ' ')}" for s in STATUSES if counts[s])
        scans = "1 scan" if len(self.outcomes) == 1 else f"{len(self.outcomes)} scans"
        words = WORDS[self.exit_code] + (f": {self.why}" if self.why else "")
        return f"{scans}: {parts}; exit code {self.exit_code}: {words}"


def judged(sidecar: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Quality, to be put behind a message, and warnings of an image, from the JSON beside it.

    Parameters
    ----------
    sidecar : dict
    """
    value = sidecar["quality"]["value"]
    warnings = tuple(escape(f"{notice['code']} {notice['message']}") for notice in sidecar["warnings"])
    return "" if value is None else f", quality {value:.2f}", warnings


def exit_code(bad: int, seen: int) -> int:
    """0 if nothing was refused or failed, 5 if everything, else 4."""
    return 0 if not bad else 5 if bad == seen else 4
