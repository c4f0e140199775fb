"""A client that stops hearing in the middle of something asks once whether its address is still the one the peer has.

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

SILENCE = 1.0
"""Seconds after the last stream data of the server."""


class AskAfterSilence(QuicConnection):
    """Sends one PING when a server's stream data stops coming. It is repeated like any other until acknowledged."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ask_at = math.inf

    def get_timer(self) -> float | None:
        """Return when the timer is due; None if there is none."""
        at: float | None = super().get_timer()
        if self._ask_at == math.inf:
            return at
        return self._ask_at if at is None else min(at, self._ask_at)

    def handle_timer(self, now: float) -> None:
        """Act on the timer."""
        if now >= self._ask_at:
            self._ask_at = math.inf
            self.send_ping(NOBODY)
        super().handle_timer(now)

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_stream_frame(context, frame_type, buf)
        if self._is_client:
            self._ask_at = context.time + SILENCE
