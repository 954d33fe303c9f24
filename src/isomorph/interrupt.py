"""Ctrl-C and SIGTERM end a run between two steps, never in the middle of a file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The run was asked to end; not an error of any scan, so that no ``except Exception`` takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Signals:
    """Raises `Interrupted` when a signal arrives, or, within `held`, right after."""

    def __init__(self) -> None:
        self._holding, self._pending = False, 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if not self._holding or self._pending:  # asked twice: leave now; writing cleans up behind itself
            raise Interrupted(number)
        self._pending = number

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put off signals while a file and its sidecar are written."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._pending:
            raise Interrupted(self._pending)


@contextmanager
def listening() -> Iterator[Signals]:
    """Install the handlers, and put back those that were there; does nothing outside the main thread."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.receive) for number in SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
