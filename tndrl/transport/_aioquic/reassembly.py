"""Received bytes that wait for those before them: so many gaps, found quickly, and nothing for a stream given up.

aioquic keeps as many gaps as a peer makes and walks through all of them for each frame, and it keeps what has arrived
of a stream until the peer has ended it too.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import QuicStream, QuicStreamReceiver

ALL_STREAMS = 16
"""All streams of a connection together may have so many times the gaps of one."""


@dataclass
class GapCount:
    """The gaps of all streams of a connection, and how many one stream, and all, may have."""

    of_stream: int
    of_all: int
    now: int = 0


class StreamRanges(RangeSet):
    """The ranges of a stream that have arrived out of order: as many as there are gaps before them."""

    def __init__(self, count: GapCount) -> None:
        super().__init__()
        self._count = count

    def __del__(self) -> None:
        self._count.now -= len(self)  # aioquic drops a finished stream without a word

    def add(self, start: int, stop: int | None = None) -> None:
        """Note that bytes have arrived; raises FLOW_CONTROL_ERROR where they leave too many gaps."""
        count = self._count
        before = len(self)
        insert(self._RangeSet__ranges, start, start + 1 if stop is None else stop)  # type: ignore[attr-defined]
        count.now += len(self) - before
        if len(self) > count.of_stream or count.now > count.of_all:
            raise QuicConnectionError(
                error_code=QuicErrorCode.FLOW_CONTROL_ERROR,
                frame_type=QuicFrameType.STREAM_BASE,
                reason_phrase=f"more than {count.of_stream} gaps in a stream, or {count.of_all} in all",
            )

    def shift(self) -> range:
        """Take out the first range: all before it has arrived."""
        self._count.now -= 1
        return super().shift()


class CryptoRanges(RangeSet):
    """The same for the TLS handshake at one encryption level."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add(self, start: int, stop: int | None = None) -> None:
        """Note that bytes have arrived; raises CRYPTO_BUFFER_EXCEEDED where they leave too many gaps."""
        insert(self._RangeSet__ranges, start, start + 1 if stop is None else stop)  # type: ignore[attr-defined]
        if len(self) > self._most:
            raise crypto_buffer_exceeded(f"more than {self._most} gaps in the handshake")


def crypto_buffer_exceeded(reason: str) -> QuicConnectionError:
    """Return the error for handshake bytes that we will not hold (RFC 9000 section 7.5)."""
    return QuicConnectionError(
        error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type=QuicFrameType.CRYPTO, reason_phrase=reason
    )


def insert(ranges: list[range], start: int, stop: int) -> None:
    """Add a range to sorted, disjoint ranges that do not touch, merging those that it touches."""
    first = last = bisect_left(ranges, start, key=_stop)
    while last < len(ranges) and ranges[last].start <= stop:
        start, stop = min(start, ranges[last].start), max(stop, ranges[last].stop)
        last += 1
    ranges[first:last] = [range(start, stop)]


def _stop(part: range) -> int:
    return part.stop


class GivenUp(QuicStreamReceiver):
    """The receiving part of a stream whose bytes nobody wants: it keeps track of their number only."""

    @classmethod
    def adopt(cls, stream: QuicStream) -> None:
        """Drop what has arrived of ``stream``, what was to be sent if it has been reset, and all that still comes."""
        receiver, sender = stream.receiver, stream.sender
        receiver.__class__ = cls
        receiver._buffer = bytearray()
        receiver._ranges = RangeSet()
        if receiver._final_size is not None:
            receiver.is_finished = True
        if sender._reset_error_code is not None:
            sender._buffer = bytearray()
            sender._pending = RangeSet()
            sender._acked = RangeSet()

    def handle_frame(self, frame: QuicStreamFrame) -> StreamDataReceived | None:
        """Take a frame as far as flow control goes; the event says that there are bytes to give credit for."""
        highest, is_finished = self.highest_offset, self.is_finished
        self.is_finished = True  # aioquic then checks the final size and keeps nothing
        super().handle_frame(frame)
        self.is_finished = is_finished or self._final_size is not None
        if self.highest_offset == highest:
            return None
        return StreamDataReceived(data=b"", end_stream=False, stream_id=self._stream_id or 0)
