"""Gaps in what has arrived: the same ranges as aioquic's, found sooner, and no more than are allowed."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import FinalSizeError, QuicStream, QuicStreamReceiver
from hypothesis import given
from hypothesis import strategies as st

from tndrl.transport._aioquic.reassembly import CryptoRanges, GapCount, GivenUp, StreamRanges, insert
from tndrl.transport.codes import TransportCode

GAPS = 10


def ranges(count: GapCount | None = None) -> StreamRanges:
    """Return the ranges of a stream that may have ten gaps."""
    return StreamRanges(count or GapCount(GAPS, 2 * GAPS))


def every_other(some: RangeSet, count: int) -> None:
    """Add ranges of one byte with a gap of one byte before each."""
    for index in range(count):
        some.add(2 * index + 1, 2 * index + 2)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))))
def test_insert_does_what_aioquic_does(parts: list[tuple[int, int]]) -> None:
    """Any ranges in any order end as the same ranges as in aioquic's own set."""
    theirs, ours = RangeSet(), []
    for start, size in parts:
        theirs.add(start, start + size)
        insert(ours, start, start + size)
    assert ours == list(theirs)


def test_a_stream_has_so_many_gaps() -> None:
    """The first gap over the limit is a FLOW_CONTROL_ERROR."""
    some = ranges()
    every_other(some, GAPS)
    with pytest.raises(QuicConnectionError) as raised:
        some.add(1000, 1001)
    assert raised.value.error_code == TransportCode.FLOW_CONTROL_ERROR


def test_filled_gaps_make_room() -> None:
    """Only gaps that are still there count, and not those that were."""
    count = GapCount(GAPS, 2 * GAPS)
    some = ranges(count)
    for _ in range(3):
        every_other(some, GAPS)
        some.add(0, 2 * GAPS)
        assert count.now == len(some) == 1
        some.shift()
    assert count.now == 0


def test_all_streams_together_have_so_many_gaps() -> None:
    """Many streams with few gaps each are as bad as one with many."""
    count = GapCount(GAPS, 2 * GAPS)
    several = [ranges(count) for _ in range(3)]
    every_other(several[0], GAPS)
    every_other(several[1], GAPS)
    with pytest.raises(QuicConnectionError):
        every_other(several[2], 1)


def test_a_stream_that_is_gone_has_no_gaps() -> None:
    """Streams that ended with gaps in them leave the room to others."""
    count = GapCount(GAPS, 2 * GAPS)
    for _ in range(5):
        every_other(ranges(count), GAPS)
    assert count.now == 0


def test_the_handshake_has_so_many_gaps() -> None:
    """The first one over the limit is a CRYPTO_BUFFER_EXCEEDED."""
    some = CryptoRanges(GAPS)
    every_other(some, GAPS)
    with pytest.raises(QuicConnectionError) as raised:
        some.add(1000, 1001)
    assert raised.value.error_code == TransportCode.CRYPTO_BUFFER_EXCEEDED


def stream() -> QuicStream:
    """Return a stream with bytes on both sides: some sent, some received after a gap."""
    some = QuicStream(stream_id=0, max_stream_data_local=9000, max_stream_data_remote=9000)
    some.receiver.handle_frame(QuicStreamFrame(data=b"x" * 100, offset=1000))
    some.sender.write(b"y" * 100)
    return some


def test_a_stream_given_up_keeps_nothing() -> None:
    """What had arrived is dropped, and so is what arrives."""
    some = stream()
    GivenUp.adopt(some)
    event = some.receiver.handle_frame(QuicStreamFrame(data=b"x" * 100, offset=2000))
    assert event is not None
    assert (event.data, event.end_stream) == (b"", False)
    assert some.receiver.highest_offset == 2100
    assert not some.receiver._buffer
    assert len(some.receiver._ranges) == 0
    assert len(some.sender._buffer) == 100


def test_bytes_that_came_before_say_nothing() -> None:
    """An event stands for credit to give back: bytes below the highest offset have been counted."""
    some = stream()
    GivenUp.adopt(some)
    assert some.receiver.handle_frame(QuicStreamFrame(data=b"x" * 100, offset=0)) is None


def test_a_stream_given_up_ends_with_its_final_size() -> None:
    """Its last byte need not come: once their number is known, all is said (RFC 9000 section 3.2)."""
    some = stream()
    GivenUp.adopt(some)
    assert not some.receiver.is_finished
    some.receiver.handle_frame(QuicStreamFrame(offset=3000, fin=True))
    assert some.receiver.is_finished
    early = stream()
    early.receiver.handle_frame(QuicStreamFrame(offset=3000, fin=True))
    assert not early.receiver.is_finished
    GivenUp.adopt(early)
    assert early.receiver.is_finished


def test_the_final_size_is_still_checked() -> None:
    """A stream that nobody wants must not lie about its size either."""
    some = stream()
    GivenUp.adopt(some)
    with pytest.raises(FinalSizeError):
        some.receiver.handle_frame(QuicStreamFrame(offset=50, fin=True))


def test_what_a_reset_stream_would_have_sent_is_dropped() -> None:
    """A peer that never acknowledges the reset must not keep our memory."""
    some = stream()
    some.sender.reset(1)
    GivenUp.adopt(some)
    assert not some.sender._buffer


# What aioquic must still have


def test_aioquic_has_the_receiver() -> None:
    """What is replaced in a stream's receiver is there, with the meaning it had."""
    receiver = QuicStream(stream_id=0).receiver
    assert type(receiver) is QuicStreamReceiver
    assert type(receiver._ranges) is RangeSet
    assert receiver._ranges._RangeSet__ranges == []
    assert (receiver._buffer, receiver._final_size, receiver.is_finished) == (bytearray(), None, False)
    assert list(signature(QuicStreamReceiver.handle_frame).parameters) == ["self", "frame"]
    assert list(signature(RangeSet.add).parameters) == ["self", "start", "stop"]
    assert list(signature(RangeSet.shift).parameters) == ["self"]


def test_aioquic_has_the_sender() -> None:
    """What is dropped of a sender that was reset is there."""
    sender = QuicStream(stream_id=0).sender
    assert (sender._buffer, sender._reset_error_code) == (bytearray(), None)
    assert type(sender._pending) is type(sender._acked) is RangeSet


def test_aioquic_marks_ranges_out_of_order_only() -> None:
    """Bytes in their turn take the short way: on the common path no range is kept."""
    receiver = QuicStream(stream_id=0, max_stream_data_local=9000).receiver
    receiver._ranges = None
    event = receiver.handle_frame(QuicStreamFrame(data=b"x", offset=0))
    assert event is not None
    assert event.data == b"x"
