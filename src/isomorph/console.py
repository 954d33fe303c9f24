"""Lines for whoever reads them; nobody reading is no error."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

GONE = 141  # exit code of a program whose reader went away, as `head` does


def say(text: str, *, err: bool = False) -> bool:
    """Print a line at once.

    Parameters
    ----------
    text : str
    err : bool
        On stderr rather than stdout.

    Returns
    -------
    bool
        False if the reader has gone away; what follows is then printed nowhere.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # else Python complains when it flushes at its end
        os.close(nowhere)
        return False
    return True


def verbose(debug: bool) -> None:
    """Let warnings through, or everything; what the libraries say of themselves stays out.

    Parameters
    ----------
    debug : bool
        Everything.
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s")
    for noisy in ("matplotlib", "PIL", "nibabel"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def importing() -> Iterator[None]:
    """Import what is heavy sooner: Python would search again and again for cycles in what stays until the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
