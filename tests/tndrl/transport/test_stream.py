"""The contract of ``ByteStream``: one set of tests that QUIC, unix and memory streams all pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from random import Random

import pytest

from support import streams
from tndrl.errors import StreamClosedError
from tndrl.transport.stream import CHUNK, ByteStream, wake

Pair = tuple[ByteStream, ByteStream]

KINDS: dict[str, Callable[[], AbstractAsyncContextManager[Pair]]] = {
    "quic": streams.quic_streams,
    "unix": streams.unix_streams,
    "memory": streams.memory_streams,
}

BIG = Random(1).randbytes(5_000_000)
"""More than any window or buffer on the way holds."""


@pytest.fixture(params=KINDS)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Yield both ends of a stream of each kind."""
    async with asyncio.timeout(30), KINDS[request.param]() as ends:
        yield ends


@pytest.fixture
def is_unix(request: pytest.FixtureRequest) -> bool:
    """Return whether the pair is a unix socket, which has no error codes: an abort there may look like an end."""
    return request.node.callspec.params["pair"] == "unix"


async def drain(stream: ByteStream) -> bytes:
    """Receive until the end."""
    received = bytearray()
    while data := await stream.receive():
        received += data
    return bytes(received)


async def deliver(stream: ByteStream, data: bytes) -> None:
    """Send ``data`` and the end."""
    await stream.send(data)
    await stream.send_eof()


async def fill(stream: ByteStream) -> asyncio.Task[None]:
    """Send until the stream takes no more; return the waiting task."""
    task = asyncio.ensure_future(stream.send(BIG))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_bytes_arrive_unchanged_both_ways(pair: Pair) -> None:
    """What one end sends, the other receives, in both directions."""
    near, far = pair
    await near.send(b"there")
    assert await far.receive() == b"there"
    await far.send(b"back")
    assert await near.receive() == b"back"


async def test_receive_returns_no_more_than_asked(pair: Pair) -> None:
    """A limit cuts what is returned, and the rest comes with the next receive."""
    near, far = pair
    await near.send(b"0123456789")
    assert await far.receive(4) == b"0123"
    assert await far.receive(100) == b"456789"


async def test_five_megabytes_each_way_at_once(pair: Pair) -> None:
    """Both directions carry much more than any buffer holds, at the same time, byte for byte."""
    near, far = pair
    back = BIG[::-1]
    sending = asyncio.gather(deliver(near, BIG), deliver(far, back))
    there, here = await asyncio.gather(drain(far), drain(near))
    await sending
    assert there == BIG
    assert here == back


async def test_a_chunk_is_bounded(pair: Pair) -> None:
    """One receive never returns more than the default chunk."""
    near, far = pair
    sending = asyncio.ensure_future(deliver(near, BIG[:1_000_000]))
    sizes = []
    while data := await far.receive():
        sizes.append(len(data))
    await sending
    assert max(sizes) <= CHUNK


async def test_each_direction_has_an_end_of_its_own(pair: Pair) -> None:
    """After the end of one direction the other goes on, until its own end."""
    near, far = pair
    await deliver(near, b"last words")
    assert await drain(far) == b"last words"
    await far.send(b"answer")
    assert await near.receive() == b"answer"
    await far.send_eof()
    assert await near.receive() == b""


async def test_the_end_stays_the_end(pair: Pair) -> None:
    """Every receive after the end returns the end again, and ending twice is ending once."""
    near, far = pair
    await near.send_eof()
    await near.send_eof()
    assert [await far.receive() for _ in range(3)] == [b"", b"", b""]


async def test_send_waits_while_nobody_receives(pair: Pair) -> None:
    """A sender is held back when the other end takes nothing, and goes on when it does."""
    near, far = pair
    sending = await fill(near)
    received = 0
    while received < len(BIG):
        received += len(await far.receive())
    await sending
    assert received == len(BIG)


async def test_abort_ends_a_waiting_receive(pair: Pair) -> None:
    """The end that aborts does not leave its own receiver waiting."""
    near, _far = pair
    receiving = asyncio.ensure_future(near.receive())
    await asyncio.sleep(0)
    near.abort(7)
    with pytest.raises(StreamClosedError):
        await receiving


async def test_abort_ends_a_waiting_send(pair: Pair) -> None:
    """The end that aborts does not leave its own sender waiting, nor let it believe that all was sent."""
    near, _far = pair
    sending = await fill(near)
    near.abort(7)
    with pytest.raises(StreamClosedError):
        await sending


async def test_abort_is_seen_by_the_other_receiver(pair: Pair, is_unix: bool) -> None:
    """The other end's receive raises the code of the abort; a unix socket can only end."""
    near, far = pair
    near.abort(7)
    if is_unix:
        assert await far.receive() == b""
        return
    with pytest.raises(StreamClosedError) as raised:
        await far.receive()
    assert (raised.value.code, raised.value.remote) == (7, True)


async def test_abort_is_seen_by_the_other_sender(pair: Pair) -> None:
    """The other end's sender, which waits for room, gets the error instead."""
    near, far = pair
    sending = await fill(far)
    near.abort(7)
    with pytest.raises(StreamClosedError):
        await sending


async def test_an_error_is_sticky(pair: Pair) -> None:
    """After an error every further call raises that error."""
    near, far = pair
    sending = await fill(far)
    near.abort(7)
    with pytest.raises(StreamClosedError) as first:
        await sending
    for call in (lambda: far.send(b"x"), lambda: far.receive(), far.send_eof):
        with pytest.raises(StreamClosedError) as again:
            await call()
        assert str(again.value) == str(first.value)


async def test_the_first_error_counts(pair: Pair) -> None:
    """A second abort changes nothing."""
    near, _far = pair
    near.abort(7)
    near.abort(8)
    with pytest.raises(StreamClosedError) as raised:
        await near.receive()
    assert raised.value.code == 7


async def test_a_cancelled_receive_loses_nothing(pair: Pair) -> None:
    """Bytes that come after a receive was cancelled, or while it is, are there for the next one."""
    near, far = pair
    received = bytearray()
    for number in range(20):
        receiving = asyncio.ensure_future(far.receive())
        await asyncio.sleep(0)
        await near.send(bytes([number]))
        receiving.cancel()
        try:
            received += await receiving
        except asyncio.CancelledError:
            continue
    await near.send_eof()
    received += await drain(far)
    assert received == bytes(range(20))


async def test_aclose_after_both_ends_is_orderly(pair: Pair) -> None:
    """Closing a stream that has ended both ways, once or twice, takes nothing away from the other end."""
    near, far = pair
    await deliver(far, b"b")
    assert await drain(near) == b"b"
    await deliver(near, b"a")
    await near.aclose()
    await near.aclose()
    assert await drain(far) == b"a"


async def test_aclose_before_the_end_aborts(pair: Pair, is_unix: bool) -> None:
    """Closing a stream that has not ended tells the other end."""
    near, far = pair
    sending = await fill(far)
    await near.aclose()
    await near.aclose()
    with pytest.raises(StreamClosedError):
        await sending


async def test_waking_needs_somebody_who_waits() -> None:
    """Nobody, or one who is awake already, is left alone."""
    wake(None)
    waiter = asyncio.get_running_loop().create_future()
    wake(waiter)
    wake(waiter)
    await waiter
