"""Probes that outlast a bad link: two per timeout (RFC 9002 section 6.2.4), and enough of them before silence ends all.

aioquic sends one, and waits twice as long after each that is lost. docs/decisions/probes.md has what was measured.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import QuicConnection

LONGEST_SHARE = 16
"""The idle timeout holds so many of the longest waits between two probes."""

NOBODY = 0
"""The ``uid`` of a PING whose answer nobody waits for."""


class PersistentProbes(QuicConnection):
    """Probes with two datagrams, and stops doubling its patience at a share of the idle timeout."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._probing = False  # a probe timeout has expired, and nothing was sent since

    def handle_timer(self, now: float) -> None:
        """Act on the timer; if it was a probe timeout, what is sent next are its probes."""
        recovery = self._loss
        timeouts = recovery._pto_count
        super().handle_timer(now)
        self._probing = recovery._pto_count > timeouts
        if self._probing and self._handshake_complete and not self._handshake_confirmed:
            # RFC 9002 section 6.2.4: the other packet number spaces too. A server that has forgotten its handshake
            # keys reads nothing else, and to say so it may need to hear where we are now.
            self.send_ping(NOBODY)
        longest = self._idle_timeout() / LONGEST_SHARE
        while recovery._pto_count > 1 and recovery.get_probe_timeout() * 2.0**recovery._pto_count > longest:
            recovery._pto_count -= 1

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Return what to send. After a probe timeout that made a single datagram, another one follows it."""
        datagrams = super().datagrams_to_send(now)
        if self._probing and len(datagrams) == 1:
            self._loss.reschedule_data(now=now)
            datagrams += super().datagrams_to_send(now)
        self._probing = False
        return datagrams
