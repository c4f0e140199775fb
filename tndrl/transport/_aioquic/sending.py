"""The shortest way for packets that are full of one stream's data, which is what a large answer is made of.

aioquic goes through everything that may have to be sent for each of them. Here it does so for the first packet; while
that is full and one stream alone has more, the following ones hold its data and nothing else.
"""

from __future__ import annotations

from contextlib import suppress

from aioquic import tls
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection, QuicNetworkPath
from aioquic.quic.packet import PACKET_FIXED_BIT, QuicFrameType, QuicPacketType, QuicStreamFrame
from aioquic.quic.packet_builder import (
    PACKET_NUMBER_SEND_SIZE,
    QuicPacketBuilder,
    QuicPacketBuilderStop,
    QuicSentPacket,
)
from aioquic.quic.stream import QuicStream

_OFFSET_AND_LENGTH = 0x06
_FIN = 0x01
_SPIN = 0x20
_KEY_PHASE = 2


class BulkPackets(QuicConnection):
    """Fills packets with the data of a stream that has much of it (RFC 9000 section 19.8)."""

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        window, size = builder.max_flight_bytes, self._max_datagram_size
        stream = self._only_sender(network_path)
        if stream is None or window is None or window < 2 * size or _pending(stream) < 2 * size:
            super()._write_application(builder, network_path, now)
            return
        builder.max_flight_bytes = size
        with suppress(QuicPacketBuilderStop):  # the first packet is full
            super()._write_application(builder, network_path, now)
        builder.max_flight_bytes = window
        if builder._packet is not None:
            builder._end_packet()
        if self._pacing_at is None and self._only_sender(network_path) is stream:
            self._write_bulk(builder, stream, now)

    def _only_sender(self, path: QuicNetworkPath) -> QuicStream | None:
        """Return the stream that alone has something to send, None if there is none or there are more."""
        if not self._handshake_confirmed or not path.is_validated or self._quic_logger is not None:
            return None
        found = None
        for stream in self._streams_queue:
            sender = stream.sender
            if not sender.buffer_is_empty and not stream.is_blocked and not sender.reset_pending:
                if found is not None:
                    return None
                found = stream
        return found

    def _write_bulk(self, builder: QuicPacketBuilder, stream: QuicStream, now: float) -> None:
        crypto, sender, pacer = self._cryptos[tls.Epoch.ONE_RTT], stream.sender, self._loss._pacer
        cid, size, window = self._peer_cid.cid, self._max_datagram_size, builder.max_flight_bytes or 0
        assert stream.stream_id is not None
        head = encode_uint_var(stream.stream_id)
        room = (
            size - (1 + len(cid) + PACKET_NUMBER_SEND_SIZE) - crypto.aead_tag_size - (1 + len(head) + 8 + 2)
        )
        while builder._flight_bytes + size <= window:
            self._pacing_at = pacer.next_send_time(now=now)
            if self._pacing_at:  # the bucket is empty
                break
            highest = sender.highest_offset
            frame = sender.get_frame(
                room,
                min(
                    highest + self._remote_max_data - self._remote_max_data_used,
                    stream.max_stream_data_remote,
                ),
            )
            if frame is None:
                break
            self._remote_max_data_used += sender.highest_offset - highest
            number = builder._packet_number
            first = PACKET_FIXED_BIT | crypto.key_phase << _KEY_PHASE | PACKET_NUMBER_SEND_SIZE - 1
            if self._spin_bit:
                first |= _SPIN
            datagram = crypto.encrypt_packet(
                bytes((first,)) + cid + (number & 0xFFFF).to_bytes(PACKET_NUMBER_SEND_SIZE, "big"),
                stream_frame(head, frame),
                number,
            )
            packet = QuicSentPacket(
                tls.Epoch.ONE_RTT, True, True, False, number, QuicPacketType.ONE_RTT, sent_bytes=len(datagram)
            )
            packet.delivery_handlers.append(
                (sender.on_data_delivery, (frame.offset, frame.offset + len(frame.data), frame.fin))
            )
            builder._packets.append(packet)
            builder._datagrams.append(datagram)
            builder._flight_bytes += len(datagram)
            builder._packet_number += 1
            pacer.update_after_send(now=now)


def _pending(stream: QuicStream) -> int:
    """Return how many bytes are to be sent one after the other."""
    sender = stream.sender
    return len(sender._pending[0]) if len(sender._pending) else 0


def stream_frame(head: bytes, frame: QuicStreamFrame) -> bytes:
    kind = QuicFrameType.STREAM_BASE | _OFFSET_AND_LENGTH | (_FIN if frame.fin else 0)
    length = len(frame.data) | 0x4000
    offset = (frame.offset | 0xC000000000000000).to_bytes(8, "big")
    return bytes((kind,)) + head + offset + length.to_bytes(2, "big") + frame.data
