"""The shortest way for the packets that nearly all datagrams hold: one after the handshake, on the path in use.

aioquic asks of each whether it is any of the others. What is taken here is what it would do with these, in its order;
everything else is left to it, a packet that cannot be decrypted included.
"""

from __future__ import annotations

from typing import Any

from aioquic import tls
from aioquic.quic.connection import (
    END_STATES,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.crypto import CryptoError, CryptoPair
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace

from tndrl.transport._aioquic.floods import FloodGuard

_FORM = 0xC0
_SHORT_HEADER = 0x40
_RESERVED = 0x18
_SPIN = 0x20


class ShortHeaders(FloodGuard):
    """Receives packets with a short header (RFC 9000 section 17.3) without asking what else they might be.

    To stand before what else there is about datagrams is safe: on the path in use, once the handshake is confirmed,
    only their bytes count.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._one_rtt: tuple[CryptoPair, QuicPacketSpace] | None = None

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Handle one datagram."""
        if self._takes_shortest_way(data, addr):
            self._received_at = now  # of which its frames are counted
            if self._receive_short(data, now):
                self._received_bytes += len(data)
                return
        super().receive_datagram(data, addr, now)

    def _takes_shortest_way(self, data: bytes, addr: Any) -> bool:
        if not self._handshake_confirmed or self._state is not QuicConnectionState.CONNECTED or not data:
            return False
        path, cid = self._network_paths[0], self.host_cid
        return (
            data[0] & _FORM == _SHORT_HEADER
            and data[1 : 1 + len(cid)] == cid
            and path.addr == addr
            and path.is_validated
            and not self._close_pending
            and self._quic_logger is None
            and (self._one_rtt is not None or self._has_one_rtt_only())
        )

    def _has_one_rtt_only(self) -> bool:
        if self._cryptos[tls.Epoch.ZERO_RTT].recv.is_valid():
            return False  # aioquic takes these keys away with the next packet
        self._one_rtt = self._cryptos[tls.Epoch.ONE_RTT], self._spaces[tls.Epoch.ONE_RTT]
        return True

    def _receive_short(self, data: bytes, now: float) -> bool:
        """Handle a packet; returns False if it is one for aioquic after all."""
        assert self._one_rtt is not None
        crypto, space = self._one_rtt
        try:
            header, payload, number = crypto.decrypt_packet(
                data, 1 + len(self.host_cid), space.expected_packet_number
            )
        except CryptoError:
            return False
        if number in space.received_packets or header[0] & _RESERVED:
            return False
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_highest_pn = number
            self._spin_bit = bool(header[0] & _SPIN) is not self._is_client
        is_ack_eliciting = self._take_payload(payload, now)
        if self._state not in END_STATES and not self._close_pending:
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = False
            self._note_received(space, number, now, is_ack_eliciting=is_ack_eliciting)
        return True

    def _take_payload(self, payload: bytes, now: float) -> bool:
        """Handle frames; returns whether they are to be acknowledged."""
        context = QuicReceiveContext(
            epoch=tls.Epoch.ONE_RTT,
            host_cid=self.host_cid,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        is_ack_eliciting = False
        try:
            is_ack_eliciting, _is_probing = self._payload_received(context, payload)
        except QuicConnectionError as error:
            self._logger.warning(error)
            self.close(
                error_code=error.error_code, frame_type=error.frame_type, reason_phrase=error.reason_phrase
            )
        return is_ack_eliciting

    def _note_received(
        self, space: QuicPacketSpace, number: int, now: float, *, is_ack_eliciting: bool
    ) -> None:
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay
