"""What needs an optional package says what to type, and the package lists it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from phantoms import scan

from isomorph.demo import compare
from isomorph.errors import SetupError
from isomorph.evaluate.brain import rough_brain_mask

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("extra", "use"),
    [("evaluate", rough_brain_mask), ("demo", lambda volume: compare(volume, volume, volume))],
)
def test_without_scipy_the_extra_is_named(extra: str, use: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("scipy", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=rf"E905 .*scipy; .*type: pip install '\.\[{extra}\]'"):
        use(scan((8, 8, 8)))
    assert any("scipy" in package or "evaluate" in package for package in EXTRAS[extra])
