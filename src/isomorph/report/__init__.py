"""One static HTML file with pictures: no script, nothing fetched, every name escaped."""

from .html import Entry, check_report, write_report
from .pictures import draw

__all__ = ["Entry", "check_report", "draw", "write_report"]
