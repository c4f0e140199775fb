"""The event loop of a service: woken for its own calls, not for those of every other service.

All grpc.aio servers of a process share one queue of events and one socket pair, a byte in which wakes each of their
loops for each event (grpcio 1.85). One loop finds the event; every other one took the interpreter's lock for nothing.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import socket
import time
from typing import Any

PATIENCE = 0.005
"""Seconds that a patient loop leaves everybody's events to the others before it looks itself."""

LOOK_EVERY = 0.0005
"""Seconds after which a loop that has work left looks for more: a turn may be of a thousand callbacks."""


class ServiceLoop(asyncio.SelectorEventLoop):
    """Keeps the interpreter's lock while it has work, and does without the wake-ups of others if it is ``patient``.

    The other loops hand a patient one its events as they find them. If they are blocked it notices after
    :data:`PATIENCE`, and from then on looks at once until they live again.
    """

    def __init__(self, *, patient: bool = False) -> None:
        super().__init__(LazySelector())
        self._patient = patient
        self.wake_ups: WakeUps | None = None
        """What grpcio's wake-ups go through, once there is a server."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]  # wider
        """Watch ``fd``; if it is what wakes grpcio, in a way of our own."""
        if _is_of_grpcio(callback):
            self.wake_ups = WakeUps(self, fd, callback, patient=self._patient)
            callback = self.wake_ups.take
        super().add_reader(fd, callback, *args)


class LazySelector(selectors.DefaultSelector):
    """Does not ask the system in every turn of a loop that has work left: to ask is to let go of the lock."""

    def __init__(self) -> None:
        super().__init__()
        self._looked_at = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or nothing where the last look was a moment ago."""
        if timeout is not None and timeout <= 0 and time.monotonic() - self._looked_at < LOOK_EVERY:
            return []
        ready = super().select(timeout)
        self._looked_at = time.monotonic()
        return ready


def _is_of_grpcio(callback: Any) -> bool:
    if not isinstance(callback, functools.partial):
        return False
    return type(getattr(callback.func, "__self__", None)).__name__ == "PollerCompletionQueue"


class WakeUps:
    """Takes the wake-ups of all servers for one loop: ``handle`` does what is the loop's and hands on the rest."""

    taken_at = 0.0
    """When a loop of this process that is not patient took one last: in that moment it lived."""

    def __init__(self, loop: ServiceLoop, sock: socket.socket, handle: Any, *, patient: bool) -> None:
        self._loop = loop
        self._socket = sock
        self._handle = handle
        self._patient = patient
        self._left_at = 0.0  # when one was left to the others
        self._missed_at = 0.0  # when the others had left one too

    def take(self) -> None:
        """Handle what there is, or leave it to the others for a moment."""
        if not self._patient:
            WakeUps.taken_at = self._loop.time()
            self._handle()
        elif self._missed_at > WakeUps.taken_at:
            self._handle()
        else:
            self._left_at = self._loop.time()
            self._loop.remove_reader(self._socket)
            self._loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        if self._socket.fileno() == -1:
            return  # grpcio has ended
        if WakeUps.taken_at < self._left_at and self._is_waiting():
            self._missed_at = self._loop.time()
            self._handle()
        self._loop.add_reader(self._socket, self.take)

    def _is_waiting(self) -> bool:
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
