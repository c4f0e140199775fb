"""What a peer's new address means for what is on its way (RFC 9000 section 9.4).

aioquic goes on as if nothing had happened: a full congestion window of datagrams that nobody will ever acknowledge
keeps even PATH_CHALLENGE back, until a probe timeout that may have backed off to seconds.
"""

from __future__ import annotations

import math
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.congestion.base import K_INITIAL_WINDOW
from aioquic.quic.connection import QuicConnection, QuicReceiveContext


class NewPath(QuicConnection):
    """Sends again at once what was on its way to the old address, and measures another host anew."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sending_to: Any = None  # the address that datagrams go to
        self._measured: Any = None  # the host that round trips and congestion are known of

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Handle one datagram, which may come from a new address of the peer."""
        super().receive_datagram(data, addr, now)
        self._follow_peer(now)

    def handle_timer(self, now: float) -> None:
        """Act on the timer, which may end the attempt to validate a new address."""
        super().handle_timer(now)
        self._follow_peer(now)

    def _follow_peer(self, now: float) -> None:
        address = self.get_peer_address()
        if address is None or address == self._sending_to:
            return
        before, self._sending_to = self._sending_to, address
        if before is None:
            self._measured = address[0]
            return
        recovery = self._loss
        recovery._pto_count = 0
        for space in recovery.spaces:
            packets = tuple(space.sent_packets.values())
            recovery._on_packets_lost(congestion_event=False, now=now, packets=packets, space=space)

    def _handle_path_response_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_path_response_frame(context, frame_type, buf)
        path = self._network_paths[0]
        if path.is_validated and path.addr[0] != self._measured:
            self._measured = path.addr[0]
            self._forget_measurements()

    def _forget_measurements(self) -> None:
        recovery, congestion = self._loss, self._loss._cc
        congestion.congestion_window = K_INITIAL_WINDOW * self._max_datagram_size
        congestion.ssthresh = None
        recovery._rtt_initialized = False
        recovery._rtt_min = math.inf
