"""SIGTERM and SIGINT: the first lets a node finish, a second ends it at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Protocol, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stoppable(Protocol):
    """What can be told to stop."""

    def request_shutdown(self, *, graceful: bool, timeout: float | None, reason: str) -> str | None:
        """Begin to stop; returns None if accepted, else why not."""


class StopSignals:
    """Takes the signals while the block runs, and keeps them until there is a node to stop.

    Does nothing outside of the main thread, where Python delivers no signals.
    """

    def __init__(self) -> None:
        self._received: list[signal.Signals] = []
        self._node: Stoppable | None = None
        self._takes = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._takes:
            for number in SIGNALS:
                asyncio.get_running_loop().add_signal_handler(number, self._take, number)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._takes:
            for number in SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)

    def obeyed_by(self, node: Stoppable) -> None:
        """Stop ``node`` at the next signal, and now if there has been one."""
        self._node = node
        received, self._received = self._received, []
        for number in received:
            self._take(number)

    def _take(self, number: signal.Signals) -> None:
        if self._node is None:
            self._received.append(number)
            return
        reason = f"it received {number.name}"
        if self._node.request_shutdown(graceful=True, timeout=None, reason=reason) is not None:
            self._node.request_shutdown(graceful=False, timeout=None, reason=reason)
