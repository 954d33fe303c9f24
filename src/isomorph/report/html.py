"""Pictures and tables as one page that can be mailed, and opened by a colleague without fear."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from ..errors import SetupError, UsageError, escape, not_installed
from ..place import place

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="isomorph {{ version }}">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
figure { margin: .5em 0; } img { width: 100%; background: #000; } figcaption { color: #666; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .2em 1em .2em 0; text-align: right; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; } tr { border-bottom: 1px solid #ddd; }
h2 { overflow-wrap: anywhere; } .refused, .failed { color: #a00; } .warning { color: #850; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ note }}</p>
{% if pictured %}
<p>{{ sides }}</p>
{% endif %}
{% for entry in entries %}
<h2>{{ entry.name }}</h2>
<p class="{{ entry.status }}">{{ entry.status | replace("_", " ") }}: {{ entry.message }}</p>
{% for warning in entry.warnings %}<p class="warning">{{ warning }}</p>
{% endfor %}{% for caption, picture in entry.pictures.items() %}
<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ encode(picture) }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}{% if entry.metrics %}{% set columns = (entry.metrics.values() | first).keys() %}
<table><tr><th>method</th>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for method, scores in entry.metrics.items() %}<tr><td>{{ method }}</td>
{% for column in columns %}<td>{{ "%.4g" | format(scores[column]) }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endif %}{% endfor %}{% if stages %}
<h2>Seconds</h2>
<table><tr><th>scan</th>{% for stage in stages %}<th>{{ stage }}</th>{% endfor %}<th>sum</th></tr>
{% for entry in entries if entry.seconds %}<tr><td>{{ entry.name }}</td>
{% for stage in stages %}<td>{{ "%.2f" | format(entry.seconds.get(stage, 0)) }}</td>{% endfor %}
<td>{{ "%.2f" | format(entry.seconds.values() | sum) }}</td></tr>
{% endfor %}</table>
{% endif %}
</body>
</html>
"""
MARK, HEAD = b'<meta name="generator" content="isomorph ', 1000  # what tells our pages from others; bytes it is within
NOTE = (
    "Synthetic images: what they show was predicted, not measured. Research software, not a medical device. "
    "A synthetic head can be recognised: it is not anonymous."
)
SIDES = "The left of the head (L) is shown on the left, not on the right as in radiological viewers."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One scan in a report.

    Parameters
    ----------
    name, status, message : str
    warnings : sequence of str
    seconds : dict
        Time of each stage.
    pictures : dict
        Caption to PNG, as `draw` gives it.
    metrics : dict of dict
        Method to metric to value.
    """

    name: str
    status: str = "done"
    message: str = ""
    warnings: Sequence[str] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def check_report(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, overwrite: bool = False
) -> Path:
    """Everything that can be known to go wrong with a report, before the work; makes its folder.

    Parameters
    ----------
    path : path of an HTML file
    inputs : paths
        Files that must not be replaced.
    overwrite : bool
        Whether a page that is there may be replaced even if it is no report of isomorph.

    Raises
    ------
    UsageError
        If the name does not end in .html, is that of an input or a folder, or is taken.
    SetupError
        If jinja2 or matplotlib is missing, or the folder cannot be written.
    """
    path = Path(path)
    name = escape(path.name)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the report {name!r} must end in .html; choose another name")
    if path.is_dir() or any(os.path.exists(i) and path.exists() and os.path.samefile(i, path) for i in inputs):
        raise UsageError(f"the report {name!r} is an input or a folder; choose another name")
    if path.exists() and not overwrite and not _is_ours(path):
        raise UsageError(f"{name!r} exists already and is no report of isomorph; choose another name or --overwrite")
    try:
        import jinja2  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise not_installed("a report", (error.name or "").split(".")[0], "report") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(name, error) from None
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SetupError(f"E702 the folder of the report {name!r} is not writable; choose another place.")
    return path


def _is_ours(path: Path) -> bool:
    """Whether isomorph wrote this page."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return MARK in file.read(HEAD)
    except OSError:
        return False


def _unwritable(name: str, error: OSError) -> SetupError:
    return SetupError(f"E702 the report {name!r} cannot be written ({error.strerror}); choose another place.")


def write_report(path: str | os.PathLike[str], entries: Sequence[Entry], *, title: str = "isomorph") -> Path:
    """Write a report; replaces an older one in one step.

    Parameters
    ----------
    path : path of an HTML file
    entries : sequence of Entry
    title : str

    Raises
    ------
    SetupError
        If jinja2 is missing, or the file cannot be written.
    """
    try:
        from jinja2 import Environment
    except ImportError:
        raise not_installed("a report", "jinja2", "report") from None
    stages = list(dict.fromkeys(stage for entry in entries for stage in entry.seconds))
    page = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    about = {"title": title, "note": NOTE, "sides": SIDES, "version": version("isomorph")}
    pictured = any(entry.pictures for entry in entries)
    text = page.render(**about, entries=entries, stages=stages, pictured=pictured, encode=_encode)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _unwritable(escape(path.name), error) from None
    return path


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")
