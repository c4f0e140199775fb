"""Pacing that an event loop can keep (RFC 9002 section 7.7).

aioquic lets 16 packets go and then waits for the time of one. A loop on epoll wakes up a millisecond later at the
earliest, so that no connection gets beyond 16 packets a millisecond, and one on a busy loop not even there.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketPacer

BURST = 0.002
"""Seconds of the path's rate that may leave at once: twice what a timer may be late on an idle loop."""


class BurstPacer(QuicPacketPacer):
    """aioquic's pacer, whose bucket holds no less than :data:`BURST`."""

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """Follow the window and the round-trip time."""
        super().update_rate(congestion_window, smoothed_rtt)
        self.bucket_max = max(self.bucket_max, BURST)


class Pacing(QuicConnection):
    """A connection that sends in bursts short enough for a path and long enough for a timer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._loss._pacer = BurstPacer(max_datagram_size=self._max_datagram_size)
