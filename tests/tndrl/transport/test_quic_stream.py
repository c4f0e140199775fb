"""What is particular to QUIC streams; the contract is in test_stream.py."""

from __future__ import annotations

import asyncio

import pytest

from support import streams
from tndrl.errors import ConnectionClosedError, StreamResetError, UsageError
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.send_budget import STREAM_MOST

Pair = tuple[QuicStream, QuicStream]


@pytest.fixture
async def pair(quic: streams.Quic) -> Pair:
    """Return both ends of a stream."""
    return await quic.streams()


async def test_put_never_waits(pair: Pair) -> None:
    """Bytes can be queued behind a sender that waits for room, and arrive after its own."""
    near, far = pair
    sending = asyncio.ensure_future(near.send(bytes(2 * STREAM_MOST)))
    await asyncio.sleep(0)
    near.put(b"last")
    assert not sending.done()
    received = b""
    while not received.endswith(b"last"):
        received += await far.receive()
    await sending
    assert len(received) == 2 * STREAM_MOST + 4


async def test_a_sender_waits_for_acknowledgements(quic: streams.Quic, pair: Pair) -> None:
    """What waits in memory is at most the mark and one more send."""
    near, far = pair

    async def send_for_ever() -> None:
        while True:
            await near.send(bytes(STREAM_MOST // 4))

    sending = asyncio.ensure_future(send_for_ever())
    for _ in range(10):
        await quic.exchange()
    assert STREAM_MOST // 2 < near._quic.unsent(near.stream_id) <= STREAM_MOST * 5 // 4
    far.abort(1)
    with pytest.raises(StreamResetError):
        await sending


async def test_nothing_can_be_sent_after_the_end(pair: Pair) -> None:
    """Sending after one's own end is a mistake of the caller, and harms nothing."""
    near, far = pair
    await near.send_eof()
    with pytest.raises(UsageError, match="after the end"):
        await near.send(b"more")
    with pytest.raises(UsageError, match="after the end"):
        near.put(b"more")
    assert await far.receive() == b""


async def test_the_peers_abort_resets_both_ways(quic: streams.Quic, pair: Pair) -> None:
    """One end's abort is the other's failure in both directions, and neither side keeps the stream."""
    near, far = pair
    far.abort(99)
    with pytest.raises(StreamResetError, match="by the peer: application code 0x63"):
        await near.receive()
    with pytest.raises(StreamResetError, match="by this side: application code 0x63"):
        await far.send(b"x")
    await quic.exchange()
    assert (quic.client.streams, quic.server.streams) == (0, 0)
    assert not near._quic.is_known(near.stream_id)


async def test_bytes_before_the_end_of_a_connection_are_delivered(quic: streams.Quic, pair: Pair) -> None:
    """What had arrived is returned first; then the connection's failure."""
    near, far = pair
    await near.send(b"just in time")
    await quic.exchange()
    quic.client.close(0, "done")
    await quic.server.wait_closed()
    assert await far.receive() == b"just in time"
    with pytest.raises(ConnectionClosedError):
        await far.receive()


async def test_an_end_that_came_outlives_the_connection(quic: streams.Quic, pair: Pair) -> None:
    """A direction that had ended stays ended, whatever becomes of the connection."""
    near, far = pair
    await near.send_eof()
    await quic.exchange()
    quic.client.close()
    await quic.server.wait_closed()
    assert await far.receive() == b""


async def test_a_reset_takes_unread_bytes_along(quic: streams.Quic, pair: Pair) -> None:
    """After a reset nothing that came before it is returned."""
    near, far = pair
    await near.send(b"unread")
    await far.receive(1)
    near.abort(4)
    await quic.exchange()
    with pytest.raises(StreamResetError):
        await far.receive(1)


async def test_aclose_after_a_lost_connection(quic: streams.Quic, pair: Pair) -> None:
    """Releasing a stream whose connection is gone does nothing, twice."""
    near, _far = pair
    quic.client.close()
    await near.aclose()
    await near.aclose()


async def test_repr_tells_number_peer_and_state(pair: Pair) -> None:
    """The representation names the stream, its peer and its failure."""
    near, _far = pair
    assert repr(near) == "<QuicStream 0 of peer, open>"
    near.abort(6)
    assert repr(near) == "<QuicStream 0 of peer, StreamResetError(6)>"
