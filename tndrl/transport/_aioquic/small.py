"""The shortest way for what a call is made of: nothing to send, or one packet with an ACK and one stream's data.

aioquic goes through everything that may have to be sent in each turn. Here that is asked first, and where nothing but
these two is due, they are written and nothing else. Anything odd goes the old way.
"""

from __future__ import annotations

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.connection import NetworkAddress, QuicConnectionState
from aioquic.quic.packet import QuicFrameType, push_ack_frame
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from tndrl.transport._aioquic.ack_delay import DelayedAcks
from tndrl.transport._aioquic.acks import AckValidation
from tndrl.transport._aioquic.keys import KeyUpdates
from tndrl.transport._aioquic.migration import Migration
from tndrl.transport._aioquic.new_path import NewPath
from tndrl.transport._aioquic.path_mtu import PathMtuDiscovery
from tndrl.transport._aioquic.probes import PersistentProbes
from tndrl.transport._aioquic.sending import BulkPackets, Handler

ACK_RANGES = 8
ACK_ROOM = 160
"""Bytes of an ACK frame of so many ranges, at most (RFC 9000 section 19.3)."""

STREAM_ROOM = 64
"""Bytes of the header and the tag of a packet and of the head of a STREAM frame, at most."""


class SmallPackets(
    AckValidation,
    KeyUpdates,
    Migration,
    PersistentProbes,
    NewPath,
    BulkPackets,
    DelayedAcks,
    PathMtuDiscovery,
):
    """Writes nothing, or one small packet, without asking what else there might be (RFC 9000 section 12.4)."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what is to be sent."""
        if self._is_plain(now) and (senders := self._senders()) is not None:
            space = self._spaces[tls.Epoch.ONE_RTT]
            window, size = self._loss.congestion_window, self._max_datagram_size
            left = window - self._loss.bytes_in_flight
            # A queue on the way counts packets: one of a call must take the place of a full one, not be one more. But a
            # window may hold less than a full one.
            is_held = bool(senders) and left < min(size, window // 2)
            if is_held:
                senders = []
            due = self._is_ack_due(space, now, may_go_along=not is_held)
            has_room = left >= size or not senders
            if has_room and self._is_small(senders) and self._fits_small(space, due=due):
                stream = senders[0] if senders else None
                if stream is None and not due:
                    self._sends_more, self._pacing_at = is_held, None
                    return []
                if stream is None or self._loss._pacer.next_send_time(now=now) is None:
                    return self._write_small(space if due else None, stream, now)
            self._is_only_data_due = not due
        try:
            return super().datagrams_to_send(now)
        finally:
            self._is_only_data_due = False

    def _is_plain(self, now: float) -> bool:
        """Return whether nothing is due but acknowledgements and data of streams."""
        return (
            self._handshake_confirmed
            and self._state is QuicConnectionState.CONNECTED
            and len(self._network_paths) == 1
            and self._has_quiet_path(now)
            and not (self._close_pending or self._probe_pending or self._probing or self._loss._pto_count)
            and not (self._ping_pending or self._datagrams_pending or self._retire_connection_ids)
            and not (self._handshake_done_pending or self._streams_blocked_pending or self._challenge_due)
            and self._quic_logger is None
            and self._packet_number - self._keys_since < self._limits.packets_per_key
            and self._old_keys_until is None
            and self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty
            and not self._has_limits_to_raise()
            and False not in [connection_id.was_sent for connection_id in self._host_cids]
        )

    def _fits_small(self, space: QuicPacketSpace, *, due: bool) -> bool:
        """Return whether the ACK frame that is due has room, and no packet number is to be left out before it."""
        return not (
            (due and len(space.ack_queue) > ACK_RANGES) or self._skipped.is_due(self._network_paths[0])
        )

    def _has_quiet_path(self, now: float) -> bool:
        path = self._network_paths[0]
        return (
            path is self._searched
            and path.is_validated
            and not path.remote_challenges
            and self._remote_preferred_address is None
            and self._path_mtu.is_quiet(now)
            and self._congestion.max_datagram_size == self._max_datagram_size == self._path_mtu.size
        )

    def _has_limits_to_raise(self) -> bool:
        data, streams = self._local_max_data, self._local_max_streams_bidi
        return data.value != data.sent or (
            streams.value != streams.sent and streams.sent - streams.used < streams.value - streams.sent
        )

    def _is_ack_due(self, space: QuicPacketSpace, now: float, *, may_go_along: bool) -> bool:
        is_now = self._is_acknowledged_now if may_go_along else self._is_acknowledged_alone
        return space.ack_at is not None and (space.ack_at <= now or is_now(space))

    def _senders(self) -> list[QuicStream] | None:
        """Return the streams that have data to send, or None if any stream has something else to say."""
        found = []
        for stream in self._streams_queue:
            sender = stream.sender
            if (
                stream.is_finished
                or stream.receiver.stop_pending
                or sender.reset_pending
                or stream.max_stream_data_local_sent != stream.max_stream_data_local
            ):
                return None
            if not sender.buffer_is_empty and not stream.is_blocked:
                found.append(stream)
        return found

    def _is_small(self, senders: list[QuicStream]) -> bool:
        """Return whether at most one stream has data to send, and that fits into a packet."""
        if not senders:
            return True
        pending = senders[0].sender._pending
        size = sum(map(len, pending))  # nothing but the end of the stream, if it is 0
        room = self._max_datagram_size - ACK_ROOM - STREAM_ROOM
        return len(senders) == 1 and len(pending) <= 1 and size <= room

    def _write_small(
        self, acknowledged: QuicPacketSpace | None, stream: QuicStream | None, now: float
    ) -> list[tuple[bytes, NetworkAddress]]:
        payload, handlers = b"", list[Handler]()
        if acknowledged is not None:
            handlers.append((self._on_ack_delivery, (acknowledged, acknowledged.largest_received_packet)))
            payload += self._ack_frame(acknowledged, now)
        has_data = False
        if stream is not None:
            sender = stream.sender
            if (taken := self._take_frame(stream, self._max_datagram_size)) is not None:
                frame, handler = taken
                has_data = True
                handlers.append(handler)
                payload += frame
            if not len(sender._pending) and not sender._pending_eof:
                sender.buffer_is_empty = True  # as aioquic's own next look would find
        self._sends_more, self._pacing_at = False, None
        if not payload:
            return []
        return [self._sent(payload, handlers, now, has_data=has_data)]

    def _ack_frame(self, space: QuicPacketSpace, now: float) -> bytes:
        assert space.largest_received_time is not None
        delay = int((now - space.largest_received_time) * 1_000_000) >> self._local_ack_delay_exponent
        buffer = Buffer(capacity=ACK_ROOM)
        buffer.push_uint_var(QuicFrameType.ACK)
        push_ack_frame(buffer, space.ack_queue, delay, ACK_ROOM - 1)
        space.ack_at = None
        self._note_acknowledged(space)
        return buffer.data

    def _sent(
        self, payload: bytes, handlers: list[Handler], now: float, *, has_data: bool
    ) -> tuple[bytes, NetworkAddress]:
        path = self._network_paths[0]
        datagram, packet = self._sealed(payload, self._packet_number, handlers, is_ack_eliciting=has_data)
        packet.sent_time = now
        self._packet_number += 1
        self._loss.on_packet_sent(packet=packet, space=self._spaces[tls.Epoch.ONE_RTT])
        if has_data:
            self._loss._pacer.update_after_send(now=now)
            if not self._ack_eliciting_sent_since_receipt:
                self._close_at = now + self._idle_timeout()
                self._ack_eliciting_sent_since_receipt = True
        path.bytes_sent += len(datagram)
        return datagram, path.addr
