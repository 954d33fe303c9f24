"""Contrast priors that a recipe names are written into it: the recipe of an image is whole without any other file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import UsageError, escape
from .synth.tables import NAMES, prior_table

Table = dict[str, Any]
LARGEST = 1 << 20  # bytes of a file of priors


def included(recipe: Table, folder: Path) -> Table:
    """Resolve ``include`` in each contrast of a recipe, of all channels; what the recipe says itself counts more.

    Parameters
    ----------
    recipe : dict
        As TOML gives it.
    folder : Path
        That paths are relative to: where the recipe lies.

    Raises
    ------
    UsageError
        If there are no such priors.
    """
    generator = recipe.get("generator")
    if not isinstance(generator, dict):
        return recipe
    new = _section(generator, folder)
    channels = generator.get("channels")
    if isinstance(channels, list):
        new["channels"] = [_section(channel, folder) if isinstance(channel, dict) else channel for channel in channels]
    return recipe | {"generator": new}


def _section(table: Table, folder: Path) -> Table:
    contrast = table.get("contrast")
    if not (isinstance(contrast, dict) and "include" in contrast):
        return dict(table)
    own = dict(contrast)
    priors = _priors(own.pop("include"), folder)
    for name in ("means", "stds"):
        if isinstance(own.get(name), dict) and isinstance(priors.get(name), dict):
            own[name] = priors[name] | own[name]
    return table | {"contrast": priors | own}


def _priors(source: object, folder: Path) -> Table:
    if source in NAMES:
        return prior_table(str(source))
    path = folder / str(source)
    said = escape(source)
    if not (isinstance(source, str) and path.suffix == ".toml" and path.is_file()):
        raise UsageError(f"no contrast priors {said!r}; choose from {list(NAMES)} or give a .toml file.")
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{said} is larger than 1 MB, which no table of priors is.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"contrast priors {said} are not TOML ({error}); see docs/recipes.md.") from None
    generator = table.get("generator")
    contrast = generator.get("contrast") if isinstance(generator, dict) else None
    if not isinstance(contrast, dict):
        raise UsageError(f"{said} holds no [generator.contrast]; make one with `isomorph priors`.")
    return contrast
