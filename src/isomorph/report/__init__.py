"""One static HTML file with pictures: no script, nothing fetched, every name escaped."""

from .html import Entry, write_report
from .pictures import draw

__all__ = ["Entry", "draw", "write_report"]
