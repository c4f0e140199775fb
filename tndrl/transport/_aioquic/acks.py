"""Acknowledgements are checked before they count: a peer that lies with them would make us send faster than the path
carries, at the cost of everybody on it.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.connection import NetworkAddress, QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode

MAX_RANGES = 64
"""Ranges in one ACK frame: what aioquic keeps at most, and twice what quic-go does."""


AGAIN = 64
"""Frames that a second ACK frame in one packet counts as: no sound peer sends one, and each looks at all in flight."""


class SkippedNumbers:
    """Packet numbers that are left out now and then: who acknowledges one guesses (RFC 9000 section 21.4)."""

    SHORTEST, LONGEST = 64, 4096
    """Packets between two of them, on average; it doubles each time."""

    KEPT = 4
    """How many of the last ones are remembered: an ACK that is older than all of them speeds nothing up."""

    def __init__(self) -> None:
        self.numbers: deque[int] = deque(maxlen=self.KEPT)
        self.next = 0
        self._period = self.SHORTEST
        self._plan(0)

    def skip(self, number: int) -> int:
        """Leave ``number`` out, to be called once it is :attr:`next` or later; returns the one to use instead."""
        self.numbers.append(number)
        self._period = min(2 * self._period, self.LONGEST)
        self._plan(number)
        return number + 1

    def _plan(self, number: int) -> None:
        self.next = number + 2 + secrets.randbelow(2 * self._period)


class AckValidation(QuicConnection):
    """Closes the connection of a peer that acknowledges what was never sent (RFC 9000 section 13.1)."""

    _frames: int

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._skipped = SkippedNumbers()
        self._acknowledged_in: QuicReceiveContext | None = None  # the last packet that had an ACK frame

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what to send, with a packet number left out before it from time to time."""
        if self._packet_number >= self._skipped.next and self._handshake_confirmed:
            self._packet_number = self._skipped.skip(self._packet_number)
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
