"""Flow control by consumption: what a peer may send before anything is passed on, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.rangeset import RangeSet

from support import streams
from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.flow import FlowControl
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream

STREAM, CONNECTION = 16 * 1024, 64 * 1024
SMALL = QuicSettings(
    limits=LimitsConfig(stream_window=STREAM, max_stream_window=STREAM, connection_window=CONNECTION)
)
FLOOD = bytes(4 * CONNECTION)


@pytest.fixture
async def quic() -> AsyncIterator[streams.Quic]:
    """Yield a connection whose server has small windows."""
    async with asyncio.timeout(30), streams.connected(SMALL, QuicSettings()) as quic:
        yield quic


async def pushing(quic: streams.Quic, count: int = 1) -> list[QuicStream]:
    """Open streams, push more into each than any window holds, and return the server's ends."""
    pairs = [await quic.streams() for _ in range(count)]
    tasks = [asyncio.ensure_future(near.send(FLOOD)) for near, _far in pairs]
    await asyncio.gather(*tasks)
    return [far for _near, far in pairs]


def arrived(far: QuicStream) -> int:
    """Return how many bytes the peer has sent on a stream, read or not."""
    return far._quic._streams[far.stream_id].receiver.highest_offset


async def held_at(quic: streams.Quic, fars: list[QuicStream], least: int, most: int) -> None:
    """Wait until ``least`` bytes of the streams have arrived, and check that no more than ``most`` ever do."""
    await streams.until(lambda: sum(map(arrived, fars)) >= least, quic.exchange)
    for _ in range(3):
        await quic.exchange()
    assert sum(map(arrived, fars)) <= most


def ignore_resets(connection: QuicConnection) -> None:
    """Let a peer go on sending on streams that the other side gave up."""
    for name, fields in (("reset_stream", 3), ("stop_sending", 2)):
        setattr(
            connection,
            f"_handle_{name}_frame",
            lambda _context, _type, buf, fields=fields: [buf.pull_uint_var() for _ in range(fields)],
        )


async def test_a_stream_is_held_at_its_window(quic: streams.Quic) -> None:
    """While nobody receives, a peer gets one stream window across, and what was consumed before."""
    (far,) = await pushing(quic)
    await held_at(quic, [far], STREAM, STREAM)


async def test_a_connection_is_held_at_its_window(quic: streams.Quic) -> None:
    """Many streams together get one connection window across."""
    fars = await pushing(quic, 8)
    await held_at(quic, fars, CONNECTION, CONNECTION)


async def test_consumption_lets_a_stream_go_on(quic: streams.Quic) -> None:
    """What is received makes room for as much again, until all has come."""
    (far,) = await pushing(quic)
    received = 0
    while received < len(FLOOD):
        received += len(await far.receive())
        assert arrived(far) <= 1 + received + STREAM
    assert received == len(FLOOD)


async def test_consumption_lets_a_connection_go_on(quic: streams.Quic) -> None:
    """What one stream's reader takes, however little of the window it is, makes room for every stream."""
    fars = await pushing(quic, 8)
    await held_at(quic, fars, CONNECTION, CONNECTION)
    await fars[0].receive(1000)
    await held_at(quic, fars, CONNECTION + 500, CONNECTION + 1000 + len(fars))


async def test_stalled_streams_leave_the_rest_of_the_window(quic: streams.Quic) -> None:
    """A stream that is read goes on for ever beside streams that nobody reads, while these do not fill the window."""
    await pushing(quic, 3)
    near, far = await quic.streams()
    sending = asyncio.ensure_future(near.send(FLOOD))
    received = 0
    while received < len(FLOOD):
        received += len(await far.receive())
    await sending


async def test_a_reset_stream_gives_its_credit_back(quic: streams.Quic) -> None:
    """A hundred streams that are pushed into and reset half-read leave the connection's window as it was."""
    for _ in range(100):
        near, far = await quic.streams()
        await near.send(bytes(8 * 1024))
        await far.receive(4 * 1024)
        far.abort(1)
    fars = await pushing(quic, 8)
    await held_at(quic, fars, CONNECTION // 2, CONNECTION)


def hold_back(near: QuicStream, size: int) -> RangeSet:
    """Queue bytes on a stream, of which only the last one will be sent; return what is pending."""
    sender = near._quic._streams[near.stream_id].sender
    sender.write(bytes(size))  # from offset 1: the first byte opened the stream
    sender._pending.subtract(1, size)
    return sender._pending


async def test_a_stream_reset_by_the_peer_gives_its_credit_back(quic: streams.Quic) -> None:
    """So do streams that the peer resets itself, with bytes that never came."""
    for _ in range(50):
        near, far = await quic.streams()
        hold_back(near, 8 * 1024)
        await quic.exchange()
        assert arrived(far) == 8 * 1024 + 1
        near.abort(1)
    fars = await pushing(quic, 8)
    await held_at(quic, fars, CONNECTION // 2, CONNECTION)


async def test_a_gap_filled_after_the_reset_grants_nothing_twice(quic: streams.Quic) -> None:
    """Bytes of a stream that was given up count once: a peer cannot make its window grow by sending them late."""
    ignore_resets(quic.client._quic)
    near, far = await quic.streams()
    pending = hold_back(near, STREAM - 1)
    await quic.exchange()
    assert arrived(far) == STREAM
    far.abort(1)
    await quic.exchange()
    pending.add(1, STREAM - 1)
    near._quic._streams[near.stream_id].sender.buffer_is_empty = False
    await quic.exchange()
    assert arrived(far) == STREAM  # all of it came
    assert far._quic._consumed_total == STREAM


async def test_a_stream_given_up_holds_no_memory(quic: streams.Quic) -> None:
    """What had come of a stream is gone with it, although its peer never ends it and sends more."""
    ignore_resets(quic.client._quic)
    near, far = await quic.streams()
    hold_back(near, STREAM // 2)
    await quic.exchange()
    receiver = far._quic._streams[far.stream_id].receiver
    assert len(receiver._buffer) > STREAM // 4
    far.abort(1)
    assert not receiver._buffer
    near._quic._streams[near.stream_id].sender.write(bytes(100))
    await quic.exchange()
    assert arrived(far) == 1 + STREAM // 2 + 100
    assert not receiver._buffer
    assert far._quic._consumed_total == arrived(far)


async def test_too_many_gaps_close_the_connection() -> None:
    """A peer that leaves more gaps than are allowed is closed."""
    few = QuicSettings(limits=LimitsConfig(stream_gaps=5))
    async with streams.connected(few, QuicSettings()) as quic:
        near, _far = await quic.streams()
        sender = near._quic._streams[near.stream_id].sender
        sender.write(bytes(100))
        sender._pending = RangeSet([range(10 * n, 10 * n + 1) for n in range(1, 8)])
        failure = await quic.client.wait_closed()
        assert getattr(failure, "code_name", "") == "FLOW_CONTROL_ERROR"


async def test_a_window_grows_for_a_fast_reader() -> None:
    """A stream whose reader keeps up with a long path gets a larger window, and one that is not read does not."""
    large = QuicSettings(limits=LimitsConfig(stream_window=STREAM, max_stream_window=4 * STREAM))
    async with streams.connected(large, QuicSettings()) as quic:
        near, far = await quic.streams()
        _idle, unread = await quic.streams()
        sending = asyncio.ensure_future(near.send(FLOOD))
        received = 0
        while received < len(FLOOD):
            quic.server._quic._loss._rtt_min = 60.0  # a path so long that any reader is fast
            received += len(await far.receive())
        await sending
        limits = {end: end._quic._streams[end.stream_id].max_stream_data_local for end in (far, unread)}
        assert STREAM < limits[far] - received <= 4 * STREAM + 1
        assert limits[unread] == STREAM


async def test_unsent_counts_what_is_not_acknowledged(quic: streams.Quic) -> None:
    """What waits for a held back peer is known, and that the stream still has to send."""
    near, _far = await quic.streams()
    await near.send(FLOOD)
    await quic.exchange()
    connection = near._quic
    assert connection.unsent(near.stream_id) == len(FLOOD) - (STREAM - 1)
    assert connection.is_sending(near.stream_id)


async def test_an_unknown_stream_has_nothing_to_send(quic: streams.Quic) -> None:
    """Questions about a stream without state are answered, not raised."""
    connection = quic.client._quic
    assert connection.unsent(400) == 0
    assert not connection.is_sending(400)
    assert not connection.is_known(400)
    connection.forget(400, 0.0)


async def test_streams_left_is_what_the_peer_allows() -> None:
    """The count of streams that may still be opened goes down with each and up with each that ends."""
    async with streams.connected(QuicSettings(limits=LimitsConfig(streams=3))) as quic:
        pairs = [await quic.streams() for _ in range(3)]
        assert quic.client._quic.streams_left == 0
        for near, _far in pairs:
            near.abort(0)
        await streams.until(lambda: quic.client._quic.streams_left == 3, quic.exchange)


OVERRIDDEN = {
    "_write_connection_limits": ["self", "builder", "space"],
    "_write_stream_limits": ["self", "builder", "space", "stream"],
}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_aioquic_still_has_what_is_overridden(name: str) -> None:
    """An aioquic that renames a method we override, or changes its arguments, fails here."""
    assert list(signature(getattr(QuicConnection, name)).parameters) == OVERRIDDEN[name]


async def test_aioquic_has_the_state_that_is_read(quic: streams.Quic) -> None:
    """An aioquic that renames a private attribute we rely on fails here."""
    near, _far = await quic.streams()
    connection = near._quic
    stream = connection._streams[near.stream_id]
    assert stream.max_stream_data_local > stream.receiver.highest_offset
    assert isinstance(stream.sender._buffer, bytearray)
    assert connection._local_max_data.value > connection._local_max_data.used
    assert connection._loss._rtt_initialized
    assert 0 < connection._loss._rtt_min < 1
    assert connection._remote_max_streams_bidi > connection._local_next_stream_id_bidi // 4


@pytest.mark.parametrize("raise_limits", ["_write_stream_limits", "_write_connection_limits"])
async def test_aioquic_still_needs_to_be_kept_from_doubling(
    monkeypatch: pytest.MonkeyPatch, quic: streams.Quic, raise_limits: str
) -> None:
    """Without our override a peer gets across more than its window; once that is no longer so, it can go."""
    monkeypatch.delattr(FlowControl, raise_limits)
    fars = await pushing(quic, 1 if "stream" in raise_limits else 8)
    window = STREAM if "stream" in raise_limits else CONNECTION
    await streams.until(lambda: sum(map(arrived, fars)) > window, quic.exchange)
