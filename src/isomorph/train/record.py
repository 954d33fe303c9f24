"""The table of runs in a model's card, a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..place import place
from .machine import writing

HEADING = "## Runs of `isomorph improve`"
ABOUT = (
    "Validation before and after, on the same samples of the heads held out; a result that is not better is not kept."
)


def add_row(path: Path, name: str, cells: Mapping[str, str]) -> None:
    """A row at the end of the table of runs; the table, and the page, where there is none yet.

    Parameters
    ----------
    path : of the page
    name : of the model, for a new page
    cells : by their columns

    Raises
    ------
    SetupError
        E703, with the row, if the page cannot be written.
    """
    with writing(path.name, "add the row by hand: " + _row(cells.values())):
        text = path.read_text(encoding="utf-8") if path.exists() else f"# Model card: {name}\n"
        if HEADING not in text:
            text = f"{text.rstrip()}\n\n{HEADING}\n\n{ABOUT}\n\n{_row(cells)}\n{'|---' * len(cells)}|\n"
        above, _, below = text.partition(HEADING)
        table, *rest = re.split(r"^(?=#)", below, maxsplit=1, flags=re.MULTILINE)
        page = f"{above}{HEADING}{table.rstrip()}\n{_row(cells.values())}\n" + "".join(f"\n{part}" for part in rest)
        place(path, page.encode())


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
