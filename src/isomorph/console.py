"""Lines for whoever reads them; nobody reading is no error."""

from __future__ import annotations

import os
import sys

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
