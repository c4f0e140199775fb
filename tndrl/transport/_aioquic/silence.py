"""A client that stops hearing in the middle of something asks whether its address is still the one the peer has.

When a NAT gives it another one while only the server has something to say, all of that goes to the old address, and
the server learns of the new one from the client alone (RFC 9000 section 9.3). A client with nothing to acknowledge
would say nothing until its next keepalive.
"""

from __future__ import annotations

import math
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicReceiveContext

from tndrl.transport._aioquic.probes import NOBODY

ANSWER = 0.05
"""Seconds after a round trip in which most calls are answered."""

PATIENCE = 4
"""Times as long as before that a client waits before it asks again, until a keepalive is due anyway."""


class AskAfterSilence(QuicConnection):
    """Sends a PING, and later another, when a server's stream data does not come or stops coming.

    Each is repeated like any other until it is acknowledged.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_said = False  # stream data has been sent for which an answer may come
        self._ask_at = math.inf
        self._ask_again = math.inf  # seconds after that

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue data of a stream."""
        super().send_stream_data(stream_id, data, end_stream)
        self._has_said = self._is_client

    def get_timer(self) -> float | None:
        """Return when the timer is due; None if there is none."""
        at: float | None = super().get_timer()
        if self._has_said and self._handshake_confirmed:
            self._has_said = False
            self._await_data(self._loss._time_of_last_sent_ack_eliciting_packet)
        if self._ask_at == math.inf:
            return at
        return self._ask_at if at is None else min(at, self._ask_at)

    def handle_timer(self, now: float) -> None:
        """Act on the timer."""
        if now >= self._ask_at:
            self._ask_at = now + self._ask_again
            self._ask_again *= PATIENCE
            if self._ask_again > self._idle_timeout() / 3:
                self._ask_again = math.inf
            self.send_ping(NOBODY)
        super().handle_timer(now)

    def _await_data(self, since: float) -> None:
        wait = ANSWER + self._loss._rtt_smoothed
        self._ask_at, self._ask_again = since + wait, wait * PATIENCE

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_stream_frame(context, frame_type, buf)
        if self._is_client:
            self._await_data(context.time)
