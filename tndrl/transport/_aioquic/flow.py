"""Flow control by consumption: a peer may send what has been passed on plus one window, no more.

aioquic doubles its windows with the highest offset a peer has named, so nothing ever holds a sender back.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream


class FlowControl(QuicConnection):
    """Grants credit for consumed bytes only (RFC 9000 section 4.2), and tells how much is waiting to be sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._consumed_total = 0
        self._consumed: WeakKeyDictionary[QuicStream, int] = WeakKeyDictionary()

    def consume(self, stream_id: int, count: int) -> bool:
        """Say that ``count`` received bytes were passed on; returns whether that is worth telling the peer."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return self._grant_connection(count)
        before = self._consumed.get(stream, 0)
        # Bytes that fill a gap of a forgotten stream have been given back already.
        consumed = self._consumed[stream] = min(before + count, stream.receiver.highest_offset)
        tell = self._grant_connection(consumed - before)
        window = self._configuration.max_stream_data
        if not stream.receiver.is_finished and (
            consumed + window - stream.max_stream_data_local >= window // 2
        ):
            stream.max_stream_data_local = consumed + window
            tell = True
        return tell

    def forget(self, stream_id: int) -> None:
        """Give back the connection's credit for bytes of a stream that will never be passed on."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            lost = stream.receiver.highest_offset - self._consumed.get(stream, 0)
            self._consumed[stream] = stream.receiver.highest_offset
            self._grant_connection(lost)

    def _grant_connection(self, count: int) -> bool:
        self._consumed_total += count
        limit = self._local_max_data
        gain = self._consumed_total + self._configuration.max_data - limit.value
        # Streams that nobody reads may hold most of the window: the others live on what is left of it.
        if gain == 0 or gain < limit.value - limit.used:
            return False
        limit.value += gain
        return True

    def unsent(self, stream_id: int) -> int:
        """Return how many bytes of a stream the peer has not acknowledged yet."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    def is_sending(self, stream_id: int) -> bool:
        """Return whether the peer still has to acknowledge bytes, the end or a reset of this stream."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.sender.is_finished

    def is_known(self, stream_id: int) -> bool:
        """Return whether the stream has state left on this side."""
        return stream_id in self._streams

    @property
    def streams_left(self) -> int:
        """How many streams we may still open."""
        return self._remote_max_streams_bidi - self._local_next_stream_id_bidi // 4

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        used = self._local_max_data.used
        self._local_max_data.used = 0  # keeps aioquic from doubling the window
        try:
            super()._write_connection_limits(builder, space)
        finally:
            self._local_max_data.used = used

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        highest = stream.receiver.highest_offset
        stream.receiver.highest_offset = 0  # keeps aioquic from doubling the window
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            stream.receiver.highest_offset = highest
