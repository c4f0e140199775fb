"""Acknowledgements that wait for company (RFC 9000 section 13.2).

aioquic acknowledges everything after a millisecond, in a datagram of its own: data that leaves before goes without.
Each call cost both sides one datagram and one timer more than it has to.
"""

from __future__ import annotations

from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.connection import NetworkAddress, QuicConnection, QuicReceiveContext
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace

ACK_DELAY = 0.02
"""Seconds that an acknowledgement waits: less than the 25 ms that we promise, as timers are late."""

ACK_EVERY = 2
"""Packets after which it waits no longer (RFC 9000 section 13.2.2)."""


class DelayedAcks(QuicConnection):
    """Acknowledges with what is sent anyway, every second packet, a gap or a PING at once, and the rest in time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ack_delay = ACK_DELAY
        self._to_acknowledge = 0  # packets since the last acknowledgement that ask for one
        self._received = 0  # all packets since then
        self._acknowledged = -1  # the highest packet number then
        self._sends_more = False  # something that an acknowledgement can go with has been asked for

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what is to be sent."""
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        if space is not None and space.ack_at is not None and self._is_acknowledged_now(space):
            space.ack_at = now
        self._sends_more = False
        return super().datagrams_to_send(now)

    def _is_acknowledged_now(self, space: QuicPacketSpace) -> bool:
        return self._sends_more or self._is_acknowledged_alone(space)

    def _is_acknowledged_alone(self, space: QuicPacketSpace) -> bool:
        """Return whether an acknowledgement does not wait for something that it can go with."""
        return (
            self._to_acknowledge >= ACK_EVERY
            or not self._handshake_confirmed
            or space.largest_received_packet != self._acknowledged + self._received  # a new gap, or less
        )

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue data of a stream."""
        super().send_stream_data(stream_id, data, end_stream)
        self._sends_more = True

    def send_ping(self, uid: int) -> None:
        """Queue a PING."""
        super().send_ping(uid)
        self._sends_more = True

    def _handle_ping_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        # Whoever sends one waits for the answer: a probe, or a check whether we live.
        super()._handle_ping_frame(context, frame_type, buf)
        self._to_acknowledge = ACK_EVERY

    def _payload_received(
        self, context: QuicReceiveContext, plain: bytes, crypto_frame_required: bool = False
    ) -> tuple[bool, bool]:
        is_ack_eliciting, is_probing = super()._payload_received(context, plain, crypto_frame_required)
        if context.epoch in (tls.Epoch.ONE_RTT, tls.Epoch.ZERO_RTT):
            self._received += 1
            self._to_acknowledge += is_ack_eliciting
        return is_ack_eliciting, is_probing

    def _write_ack_frame(self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float) -> None:
        super()._write_ack_frame(builder, space, now)
        if space.is_application_data:
            self._note_acknowledged(space)

    def _note_acknowledged(self, space: QuicPacketSpace) -> None:
        self._to_acknowledge = self._received = 0
        self._acknowledged = space.largest_received_packet
