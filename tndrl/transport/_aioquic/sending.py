"""The shortest way for packets that are full of one stream's data, which is what large answers are made of.

aioquic goes through everything that may have to be sent, and through all streams, for each of them. Here it does so for
the first packet at most; while streams can fill packets, the following ones hold data of one stream and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aioquic import tls
from aioquic.buffer import encode_uint_var, size_uint_var
from aioquic.quic.connection import QuicNetworkPath
from aioquic.quic.packet import PACKET_FIXED_BIT, QuicFrameType, QuicPacketType, QuicStreamFrame
from aioquic.quic.packet_builder import (
    PACKET_NUMBER_SEND_SIZE,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
    QuicSentPacket,
)
from aioquic.quic.stream import QuicStream

from tndrl.transport._aioquic.priority import StreamPriorities

Handler = tuple[Callable[..., None], Any]
"""What is told of a packet's fate, and its further arguments."""

_OFFSET_AND_LENGTH = 0x06
_FIN = 0x01
_SPIN = 0x20
_KEY_PHASE = 2


class BulkPackets(StreamPriorities):
    """Fills packets with the data of one stream each, in the order of their classes (RFC 9000 section 19.8)."""

    _is_only_data_due = False
    """Whether not even the first packet has to be written aioquic's way."""

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        window, size = builder.max_flight_bytes, self._max_datagram_size
        least = size if self._is_only_data_due else 2 * size
        if window is None or window < least or not (self._is_only_data_due or self._has_bulk(network_path)):
            super()._write_application(builder, network_path, now)
            return
        if not self._is_only_data_due:
            builder.max_flight_bytes = size
            with suppress(QuicPacketBuilderStop):  # the first packet is full
                super()._write_application(builder, network_path, now)
            builder.max_flight_bytes = window
            if builder._packet is not None:
                builder._end_packet()
            if self._pacing_at is not None:
                return
        if self._write_bulk(builder, now):
            super()._write_application(builder, network_path, now)

    def _has_bulk(self, path: QuicNetworkPath) -> bool:
        if not self._handshake_confirmed or not path.is_validated or self._quic_logger is not None:
            return False
        first = self._next_sender()
        return first is not None and self._sendable(first) >= 2 * self._max_datagram_size

    def _next_sender(self) -> QuicStream | None:
        """Return the stream whose turn it is, of those that have something to send and may."""
        for stream in self._streams_queue:
            if not (stream.sender.buffer_is_empty or stream.is_blocked or stream.sender.reset_pending):
                return stream
        return None

    def _most_offset(self, stream: QuicStream) -> int:
        """Return where the peer's credit for a stream ends."""
        credit = self._remote_max_data - self._remote_max_data_used
        return min(stream.sender.highest_offset + credit, stream.max_stream_data_remote)

    def _sendable(self, stream: QuicStream) -> int:
        """Return how many bytes of a stream are to be sent one after the other, and may."""
        pending = stream.sender._pending
        if not len(pending):
            return 0
        following = pending[0]
        return min(following.stop, self._most_offset(stream)) - following.start

    def _write_bulk(self, builder: QuicPacketBuilder, now: float) -> bool:
        """Write packets while there is a stream that fills one; returns whether there is room for what does not."""
        pacer, size, window = self._loss._pacer, self._max_datagram_size, builder.max_flight_bytes or 0
        while builder._flight_bytes + size <= window:
            self._pacing_at = pacer.next_send_time(now=now)
            if self._pacing_at:  # the bucket is empty
                return False
            stream = self._next_sender()
            if stream is None or self._sendable(stream) < size:
                return True
            self._write_full(builder, stream)
            pacer.update_after_send(now=now)
            self._order.serve(stream)
        return False

    def _write_full(self, builder: QuicPacketBuilder, stream: QuicStream) -> None:
        assert stream.stream_id is not None
        header = 1 + len(self._peer_cid.cid) + PACKET_NUMBER_SEND_SIZE
        head = 1 + size_uint_var(stream.stream_id) + 8 + 2
        tag = self._cryptos[tls.Epoch.ONE_RTT].aead_tag_size
        taken = self._take_frame(stream, self._max_datagram_size - header - head - tag)
        assert taken is not None
        frame, handler = taken
        datagram, packet = self._sealed(frame, builder._packet_number, [handler], is_ack_eliciting=True)
        builder._packets.append(packet)
        builder._datagrams.append(datagram)
        builder._flight_bytes += len(datagram)
        builder._packet_number += 1

    def _take_frame(self, stream: QuicStream, size: int) -> tuple[bytes, Handler] | None:
        """Take up to ``size`` bytes of a stream as a frame, within the peer's credit; None if there are none."""
        sender = stream.sender
        assert stream.stream_id is not None
        highest = sender.highest_offset
        frame = sender.get_frame(size, self._most_offset(stream))
        if frame is None:
            return None
        self._remote_max_data_used += sender.highest_offset - highest
        end = frame.offset + len(frame.data)
        return _stream_frame(stream.stream_id, frame), (
            sender.on_data_delivery,
            (frame.offset, end, frame.fin),
        )

    def _sealed(
        self, payload: bytes, number: int, handlers: list[Handler], *, is_ack_eliciting: bool
    ) -> tuple[bytes, QuicSentPacket]:
        """Return a packet with a short header (RFC 9000 section 17.3.1), and what is kept of it."""
        crypto = self._cryptos[tls.Epoch.ONE_RTT]
        first = PACKET_FIXED_BIT | crypto.key_phase << _KEY_PHASE | PACKET_NUMBER_SEND_SIZE - 1
        if self._spin_bit:
            first |= _SPIN
        datagram = crypto.encrypt_packet(
            bytes((first,)) + self._peer_cid.cid + (number & 0xFFFF).to_bytes(PACKET_NUMBER_SEND_SIZE, "big"),
            payload,
            number,
        )
        packet = QuicSentPacket(
            tls.Epoch.ONE_RTT,
            is_ack_eliciting,
            is_ack_eliciting,
            False,
            number,
            QuicPacketType.ONE_RTT,
            sent_bytes=len(datagram),
        )
        packet.delivery_handlers.extend(handlers)
        return datagram, packet


def _stream_frame(stream_id: int, frame: QuicStreamFrame) -> bytes:
    kind = QuicFrameType.STREAM_BASE | _OFFSET_AND_LENGTH | (_FIN if frame.fin else 0)
    length = len(frame.data) | 0x4000
    offset = (frame.offset | 0xC000000000000000).to_bytes(8, "big")
    return bytes((kind,)) + encode_uint_var(stream_id) + offset + length.to_bytes(2, "big") + frame.data
