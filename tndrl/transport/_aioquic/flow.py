"""Flow control by consumption: a peer may send what has been passed on plus one window, no more.

aioquic doubles its windows with the highest offset a peer has named, so nothing ever holds a sender back.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.reassembly import ALL_STREAMS, GapCount, GivenUp, StreamRanges
from tndrl.transport.window import ReceiveWindow


class FlowControl(QuicConnection):
    """Grants credit for consumed bytes only (RFC 9000 section 4.2), and tells how much is waiting to be sent."""

    _limits: LimitsConfig

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._consumed_total = 0
        self._windows: WeakKeyDictionary[QuicStream, ReceiveWindow] = WeakKeyDictionary()
        self._gaps = GapCount(self._limits.stream_gaps, ALL_STREAMS * self._limits.stream_gaps)

    def consume(self, stream_id: int, count: int, now: float) -> bool:
        """Say that ``count`` received bytes were passed on; returns whether that is worth telling the peer."""
        tell = self._grant_connection(count)
        stream = self._streams.get(stream_id)
        if stream is None:
            return tell
        window = self._window(stream, now)
        window.consumed += count
        if not stream.receiver.is_finished:
            loss = self._loss
            limit = window.raised(
                stream.max_stream_data_local, now, loss._rtt_min if loss._rtt_initialized else 0.0
            )
            if limit is not None:
                stream.max_stream_data_local = limit
                tell = True
        return tell

    def forget(self, stream_id: int, now: float) -> None:
        """Drop what came and what will come of a stream, and give back the connection's credit for it."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            window = self._window(stream, now)
            lost = stream.receiver.highest_offset - window.consumed
            window.consumed = stream.receiver.highest_offset
            self._grant_connection(lost)
            GivenUp.adopt(stream)

    def _window(self, stream: QuicStream, now: float) -> ReceiveWindow:
        window = self._windows.get(stream)
        if window is None:
            limits = self._limits
            window = ReceiveWindow(limits.stream_window, limits.max_stream_window, now)
            self._windows[stream] = window
        return window

    def _grant_connection(self, count: int) -> bool:
        self._consumed_total += count
        limit = self._local_max_data
        gain = self._consumed_total + self._limits.connection_window - limit.value
        # Streams that nobody reads may hold most of the window: the others live on what is left of it.
        if gain == 0 or gain < limit.value - limit.used:
            return False
        limit.value += gain
        return True

    def unsent(self, stream_id: int) -> int:
        """Return how many bytes of a stream the peer has not acknowledged yet."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    @property
    def send_buffer(self) -> int:
        """How many bytes of all streams may wait for the peer's acknowledgement."""
        return self._limits.connection_send_buffer

    @property
    def unsent_total(self) -> int:
        """How many bytes of all streams the peer has not acknowledged yet."""
        return sum(len(stream.sender._buffer) for stream in self._streams.values())

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

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        stream = super()._get_or_create_stream(frame_type, stream_id)
        receiver = stream.receiver
        if type(receiver._ranges) is RangeSet and not isinstance(receiver, GivenUp):
            receiver._ranges = StreamRanges(self._gaps)
        return stream

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
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        highest = stream.receiver.highest_offset
        stream.receiver.highest_offset = 0  # keeps aioquic from doubling the window
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            stream.receiver.highest_offset = highest
