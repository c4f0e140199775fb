"""Acknowledgements are checked before they count: a peer that lies with them would make us send faster than the path
carries, at the cost of everybody on it.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.connection import (
    NetworkAddress,
    QuicConnection,
    QuicConnectionError,
    QuicNetworkPath,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode

MAX_RANGES = 64
"""Ranges in one ACK frame: what aioquic keeps at most, and twice what quic-go does."""


AGAIN = 64
"""Frames that a second ACK frame in one packet counts as: no sound peer sends one, and each looks at all in flight."""


class SkippedNumbers:
    """Packet numbers that are left out now and then: who acknowledges one guesses (RFC 9000 section 21.4).

    One in each congestion window, at a place that nobody can tell: acknowledgements of what has not arrived yet come to
    one before they have made the window twice what it was.
    """

    SHARE = 2
    """What of a window may leave before the next one, as its divisor: the rest is for the burst that it falls in."""

    KEPT = 8
    """How many of the last ones are remembered: more than a window can hold."""

    def __init__(self) -> None:
        self.numbers: deque[int] = deque(maxlen=self.KEPT)
        self._path: QuicNetworkPath | None = None  # whose bytes are counted
        self._due = 0  # bytes sent on it at which the next one is left out

    def is_due(self, path: QuicNetworkPath) -> bool:
        """Return whether the next number is to be left out of what is sent on ``path``."""
        return path.bytes_sent >= self._due or path is not self._path

    def skip(self, number: int, path: QuicNetworkPath, window: int) -> int:
        """Leave ``number`` out, and another one before ``window`` bytes are sent; returns the one to use instead."""
        self.numbers.append(number)
        self._path = path
        self._due = path.bytes_sent + 1 + secrets.randbelow(window // self.SHARE)
        return number + 1


class AckValidation(QuicConnection):
    """Closes the connection of a peer that acknowledges what was never sent (RFC 9000 section 13.1)."""

    _frames: int

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._skipped = SkippedNumbers()
        self._acknowledged_in: QuicReceiveContext | None = None  # the last packet that had an ACK frame

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what to send, with a packet number left out before it from time to time."""
        if self._handshake_confirmed and self._skipped.is_due(path := self._network_paths[0]):
            window = self._loss.congestion_window
            self._packet_number = self._skipped.skip(self._packet_number, path, window)
        return super().datagrams_to_send(now)

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if context is self._acknowledged_in:
            self._frames += AGAIN
        self._acknowledged_in = context
        start = buf.tell()
        self._check_ranges(frame_type, buf)
        buf.seek(start)
        super()._handle_ack_frame(context, frame_type, buf)

    def _check_ranges(self, frame_type: int, buf: Buffer) -> None:
        high = buf.pull_uint_var()
        if high >= self._packet_number:
            raise _violation(frame_type, f"packet {high} is acknowledged and was not sent")
        buf.pull_uint_var()  # the delay, of which no more than max_ack_delay counts (RFC 9002 section 5.3)
        more = buf.pull_uint_var()
        if more >= MAX_RANGES:
            raise _violation(frame_type, f"more than {MAX_RANGES} ranges in one ACK frame")
        low = high - buf.pull_uint_var()
        while True:
            for number in self._skipped.numbers:
                if low <= number <= high:
                    raise _violation(frame_type, f"packet {number} is acknowledged and was left out")
            if not more:
                break
            more -= 1
            high = low - buf.pull_uint_var() - 2
            low = high - buf.pull_uint_var()


def _violation(frame_type: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(
        error_code=QuicErrorCode.PROTOCOL_VIOLATION, frame_type=frame_type, reason_phrase=reason
    )
