"""A peer that has not heard that the connection is closed is told again (RFC 9000 section 10.2.1).

aioquic says it once. Where that datagram is lost, the peer goes on until its idle timeout.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import NetworkAddress, QuicConnection, QuicConnectionState


class ClosingPeriod(QuicConnection):
    """Answers the first, second, fourth, eighth ... datagram after its CONNECTION_CLOSE with the same packet."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._last_words: list[tuple[bytes, NetworkAddress]] = []
        self._late = 0  # datagrams that came after them
        self._is_asked = False

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what is to be sent."""
        if self._is_asked and self._state is QuicConnectionState.CLOSING:
            self._is_asked = False
            return self._last_words
        is_closing = self._close_pending
        datagrams: list[tuple[bytes, NetworkAddress]] = super().datagrams_to_send(now)
        if is_closing:
            self._last_words = datagrams
        return datagrams

    def _note_late(self) -> None:
        """Take note of a datagram after the end; one may have been sent by anybody, so few are answered."""
        if self._last_words and self._network_paths[0].is_validated:
            self._late += 1
            if self._late & (self._late - 1) == 0:
                self._is_asked = True
