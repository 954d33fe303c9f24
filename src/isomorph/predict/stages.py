"""Stages of the work: each is timed, and told when it starts and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[str, float], None]  # stage, share of it that is done
Report = Callable[[float], None]  # share of a stage that is done
Clock = Callable[[str], AbstractContextManager[Report]]  # a stage by its name


@contextmanager
def stage(name: str, seconds: dict[str, float], progress: Progress | None = None) -> Iterator[Report]:
    """Time a stage, and say when it starts and ends.

    Parameters
    ----------
    name : str
    seconds : dict
        To which its time is added: that of some stages is spent in pieces.
    progress : callable, optional
        Called with the name of the stage and the share of it that is done.

    Yields
    ------
    callable
        To be told that share meanwhile.
    """

    def report(share: float) -> None:
        if progress:
            progress(name, share)

    report(0.0)
    start = time.perf_counter()
    yield report
    seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - start, 4)
    report(1.0)


def untimed(name: str) -> AbstractContextManager[Report]:
    """A stage that nobody wants to know of."""
    return stage(name, {})
