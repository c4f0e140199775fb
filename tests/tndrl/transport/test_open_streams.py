"""The streams of a connection, and what they share."""

from __future__ import annotations

import asyncio

import pytest

from support import streams
from tndrl.config import LimitsConfig
from tndrl.errors import TndrlError
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.send_budget import STREAM_SHARE
from tndrl.transport.stream import CHUNK


async def test_late_bytes_of_a_forgotten_stream_are_dropped(quic: streams.Quic) -> None:
    """What still comes on a stream that we gave up harms nobody."""
    near, far = await quic.streams()
    far.abort(3)
    await near.send(b"late")
    await quic.exchange()
    with pytest.raises(TndrlError):
        await near.send(b"later")
    assert quic.server.streams == 0
    assert quic.client.is_connected


async def test_many_senders_share_a_budget() -> None:
    """Streams together keep no more than the connection's budget and a share each, and go on when there is room."""
    most, count = 256 * 1024, 20
    limits = LimitsConfig(connection_send_buffer=most, connection_window=64 * 1024)
    async with streams.connected(QuicSettings(limits=limits)) as quic:
        pairs = [await quic.streams() for _ in range(count)]
        sent = [0] * count

        async def send_for_ever(number: int) -> None:
            near = pairs[number][0]
            while True:
                data = bytes(near.bite)
                sent[number] += len(data)
                await near.send(data)

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            senders = [group.create_task(send_for_ever(number)) for number in range(count)]
            for _ in range(5):
                await quic.exchange()
            assert min(sent) >= STREAM_SHARE
            assert quic.client._quic.unsent_total <= most + count * 2 * STREAM_SHARE + CHUNK
            before, read = list(sent), [asyncio.ensure_future(_drain(far)) for _near, far in pairs]
            await streams.until(lambda: all(map(int.__gt__, sent, before)), quic.exchange)
            for task in senders:
                task.cancel()
            await streams.until(lambda: not quic.client._open.budget.is_spent, quic.exchange)
            for task in read:
                task.cancel()


async def _drain(stream: QuicStream) -> None:
    while await stream.receive():
        pass
