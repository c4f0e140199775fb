"""In which order aioquic serves streams: by class, in turn within one. An upgrade that queues otherwise fails here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.stream import QuicStream as AioquicStream

from support import streams
from tndrl.transport._aioquic.priority import ServiceOrder
from tndrl.transport.priority import Priority
from tndrl.transport.quic_stream import QuicStream

BULK = 700_000
"""Bytes that do not leave at once, and that a stream takes without waiting."""


@pytest.fixture
async def quic() -> AsyncIterator[streams.Quic]:
    """Yield a connection."""
    async with asyncio.timeout(30), streams.connected() as quic:
        yield quic


def test_aioquic_serves_its_queue_in_order() -> None:
    """Aioquic knows the queue by this name, goes through it, and adds to it in these ways."""
    written = inspect.getsource(QuicConnection._write_application)
    assert "for stream in self._streams_queue:" in written
    assert "self._streams_queue.extend(sent)" in written
    everywhere = inspect.getsource(QuicConnection)
    assert everywhere.count("self._streams_queue.append(stream)") == 2
    assert everywhere.count("self._streams_queue") == 7


def test_the_order_of_service() -> None:
    """What is added goes behind its class and before those that are less urgent."""
    made = [AioquicStream(stream_id=4 * number) for number in range(5)]
    rank = dict(zip(made, [128, 0, 128, 192, 0], strict=True))
    order = ServiceOrder([], lambda stream: rank[stream])
    order.extend(made)
    assert [stream.stream_id // 4 for stream in order] == [1, 4, 0, 2, 3]
    order.remove(made[1])
    order.append(made[1])
    assert [stream.stream_id // 4 for stream in order] == [4, 1, 0, 2, 3]


async def opened(quic: streams.Quic, *priorities: Priority) -> list[tuple[QuicStream, QuicStream]]:
    """Return both ends of streams of these classes."""
    pairs = [await quic.streams() for _ in priorities]
    for (near, _far), priority in zip(pairs, priorities, strict=True):
        near.prioritize(priority)
    return pairs


async def drained(far: QuicStream, seen: dict[QuicStream, int], size: int = BULK) -> None:
    """Receive so many bytes, counting them."""
    while seen[far] < size:
        seen[far] += len(await far.receive())


@pytest.mark.parametrize("urgent", [Priority.CRITICAL, Priority.HIGH, Priority.MEDIUM])
async def test_the_more_urgent_go_first(quic: streams.Quic, urgent: Priority) -> None:
    """What is written last is sent first if it is urgent; of the rest there is little before."""
    pairs = await opened(quic, Priority.LOW, Priority.LOW, Priority.LOW, urgent)
    for near, _far in pairs:
        near.put(bytes(BULK))
    seen = dict.fromkeys([far for _near, far in pairs], 0)
    async with asyncio.TaskGroup() as group:
        rest = [group.create_task(drained(far, seen)) for _near, far in pairs[:3]]
        await drained(pairs[3][1], seen)
        assert sum(seen.values()) - BULK < BULK // 2
        await asyncio.wait(rest)


async def test_equals_take_turns(quic: streams.Quic) -> None:
    """Streams of one class come at the same pace."""
    pairs = await opened(quic, *[Priority.MEDIUM] * 3)
    for near, _far in pairs:
        near.put(bytes(BULK))
    seen = dict.fromkeys([far for _near, far in pairs], 0)
    async with asyncio.TaskGroup() as group:
        for _near, far in pairs:
            group.create_task(drained(far, seen))
        await streams.until(lambda: max(seen.values()) >= BULK // 2)
        assert min(seen.values()) > BULK // 4


async def test_a_stream_that_is_over_has_no_class(quic: streams.Quic) -> None:
    """To prioritize one that is gone does nothing."""
    ((near, _far),) = await opened(quic, Priority.HIGH)
    near.abort(5)
    await streams.until(lambda: not near._quic.is_known(near.stream_id), quic.exchange)
    near.prioritize(Priority.LOW)
