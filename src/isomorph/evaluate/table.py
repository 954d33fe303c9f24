"""Tables of the documentation."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, its columns as wide as their widest cell.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of rows
        Each with as many cells as the header; None is an empty cell.

    Raises
    ------
    ValueError
        If a row has more cells or less.
    """
    lines = [[_cell(value) for value in row] for row in (header, *rows)]
    if wrong := [line for line in lines if len(line) != len(header)]:
        raise ValueError(f"The table has {len(header)} columns, and a row {len(wrong[0])} cells: {wrong[0]}.")
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).replace("|", "\\|").split())
