"""Changes to a recipe from the command line."""

from __future__ import annotations

import tomllib
from typing import Any

from .errors import UsageError


def override(table: dict[str, Any], text: str) -> None:
    """Change one entry of a table, in place.

    Parameters
    ----------
    table : dict
        Of a recipe, or of its generator.
    text : ``dotted.key=value``
        The value is TOML; a number in the key is a place in a list.

    Raises
    ------
    UsageError
        If it is not of that form, or leads to no section.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"override {text!r} is not of the form dotted.key=value.")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        raise UsageError(f"override {text!r}: {value!r} is not a TOML value; put text in quotes.") from None
    *parents, last = key.strip().split(".")
    node: Any = table
    for parent in parents:
        if isinstance(node, list):  # a channel, by its number
            if not (parent.isdecimal() and int(parent) < len(node)):
                raise UsageError(f"override {text!r}: {parent} is no number from 0 to {len(node) - 1}.")
            node = node[int(parent)]
        else:
            node = node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise UsageError(f"override {text!r}: {parent} is a value, not a section.")
    if isinstance(node, list):
        raise UsageError(f"override {text!r}: {parents[-1]} is a list; say which, as in {parents[-1]}.0.{last}.")
    node[last] = parsed
