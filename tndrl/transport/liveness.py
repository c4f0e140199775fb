"""Whether the peer of a session lives: what is asked of it now and then, and what a handshake has to show."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tndrl.errors import TndrlError

DOUBT_TIMEOUT = 1.0
"""Seconds a peer has to answer a PING when its host says that its port is closed."""


class Watched(Protocol):
    """What is watched."""

    heard_at: float

    @property
    def keepalive(self) -> float:
        """Seconds between two PINGs."""

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""

    @property
    def is_confirmed(self) -> bool:
        """Whether its handshake is."""

    def send_ping(self) -> None:
        """Send a PING whose answer nobody waits for."""

    def refuse(self, reason: str) -> None:
        """Close it."""

    def abandon(self, failure: TndrlError) -> None:
        """End it without a word."""


class Liveness:
    """The timers of one session that decide whether it goes on."""

    def __init__(self, session: Watched, handshake_timeout: float | None) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._keepalive: asyncio.TimerHandle | None = None
        self._doubt: asyncio.TimerHandle | None = None  # set while a PING decides whether the peer is gone
        self._doubted_at = 0.0
        self._handshake_timeout = handshake_timeout
        self._handshake: asyncio.TimerHandle | None = None
        self._step: object = None
        self._step_at = self._loop.time()
        self._watch_handshake()

    def keep_alive(self) -> None:
        """Send PINGs from now on."""
        self._keepalive = self._loop.call_later(self._session.keepalive, self._send_keepalive)

    def doubt(self, failure: TndrlError) -> None:
        """Believe a report that the peer is gone, unless it answers a PING: anybody can forge an ICMP error."""
        if self._doubt is None and not self._session.is_closed:
            self._doubted_at = self._loop.time()
            self._doubt = self._loop.call_later(DOUBT_TIMEOUT, self._settle_doubt, failure)
            self._session.send_ping()

    def note_step(self, step: object) -> None:
        """Take note of how far the handshake is: it has its time for each step."""
        if step != self._step:
            self._step, self._step_at = step, self._loop.time()

    def stop(self) -> None:
        """Watch no more."""
        for timer in (self._keepalive, self._doubt, self._handshake):
            if timer is not None:
                timer.cancel()

    def _send_keepalive(self) -> None:
        self.keep_alive()
        self._session.send_ping()

    def _settle_doubt(self, failure: TndrlError) -> None:
        self._doubt = None
        if self._session.heard_at <= self._doubted_at:
            self._session.abandon(failure)

    def _watch_handshake(self) -> None:
        if self._handshake_timeout is None or self._session.is_closed or self._session.is_confirmed:
            return
        left = self._step_at + self._handshake_timeout - self._loop.time()
        if left > 0:
            self._handshake = self._loop.call_later(left, self._watch_handshake)
            return
        self._session.refuse(f"handshake made no progress for {self._handshake_timeout:g} s")
