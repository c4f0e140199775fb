"""Splicing: bytes both ways, ends one by one, failures from either side, and callers that break off (QUIC-20)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from rogue.peer import Peer
from support import streams
from support.held import Held
from support.streams import ECHO_TYPE, GRPC_TYPE, Echo, RawClient
from tndrl.config import LimitsConfig
from tndrl.errors import StreamResetError
from tndrl.transport import bridge, http2
from tndrl.transport.bridge import splice
from tndrl.transport.listener import MuxListener
from tndrl.transport.memory import MemoryStream, memory_pair
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.stream import CHUNK

ECHO = bytes([ECHO_TYPE])


class Spliced:
    """Two streams in memory with a splice between them."""

    def __init__(self, **filters: object) -> None:
        self.near, near = memory_pair()
        self.far, far = memory_pair()
        self.task = asyncio.ensure_future(splice(near, far, **filters))


async def take(stream: MemoryStream) -> bytes:
    """Receive until the end."""
    received = b""
    while data := await stream.receive():
        received += data
    return received


async def test_bytes_and_ends_pass_both_ways() -> None:
    """What comes in at one side goes out at the other, the ends too, and then the splice is done."""
    spliced = Spliced()
    await spliced.near.send(b"there")
    await spliced.near.send_eof()
    assert await take(spliced.far) == b"there"
    await spliced.far.send(b"back")
    await spliced.far.send_eof()
    assert await take(spliced.near) == b"back"
    assert await spliced.task is None


async def test_filters_see_what_passes() -> None:
    """Each direction has a filter of its own, and what it withholds is not sent."""
    spliced = Spliced(outbound=lambda data: data.replace(b"x", b""), inbound=bytes.upper)
    await spliced.near.send(b"xxx")
    await spliced.near.send(b"axb")
    await spliced.near.send_eof()
    await spliced.far.send(b"back")
    await spliced.far.send_eof()
    assert (await take(spliced.far), await take(spliced.near)) == (b"ab", b"BACK")
    await spliced.task


@pytest.mark.parametrize("side", ["near", "far"])
async def test_the_first_failure_is_returned(side: str) -> None:
    """When a side fails the splice ends at once and says why."""
    spliced = Spliced()
    getattr(spliced, side).abort(7)
    error = await spliced.task
    assert isinstance(error, StreamResetError)
    assert (error.code, error.remote) == (7, True)


async def test_one_direction_lingers_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one direction has ended in good order the other has a moment, and no more."""
    monkeypatch.setattr(bridge, "LINGER", 0.05)
    spliced = Spliced()
    await spliced.near.send_eof()
    assert await spliced.task is None
    assert await spliced.far.receive() == b""


async def test_a_fault_in_a_filter_is_raised() -> None:
    """What is no failure of a stream is not taken for one."""
    spliced = Spliced(outbound=lambda data: data[1:] + str(1 / 0).encode())
    await spliced.near.send(b"x")
    with pytest.raises(ZeroDivisionError):
        await spliced.task


async def test_a_full_sink_holds_the_source_back() -> None:
    """While one side takes nothing no more is read of the other than the sink holds and a bite."""
    spliced = Spliced()
    sending = asyncio.ensure_future(spliced.near.send(bytes(10_000_000)))
    for _ in range(20):
        await asyncio.sleep(0)
    held = len(spliced.far._incoming.buffer)
    assert 0 < held <= 2 * CHUNK
    assert not sending.done()
    assert len(await spliced.far.receive()) > 0
    taking = asyncio.ensure_future(take(spliced.far))
    await sending
    await spliced.near.send_eof()
    assert len(await taking) + min(held, CHUNK) == 10_000_000
    await spliced.far.send_eof()
    assert await spliced.task is None


async def test_a_cancelled_splice_leaves_no_task() -> None:
    """Cancelling it ends both directions; the streams stay open."""
    spliced = Spliced()
    await asyncio.sleep(0)
    spliced.task.cancel()
    await asyncio.wait({spliced.task})
    await spliced.near.send(b"still open")


@pytest.fixture
async def stage(short_dir: Path) -> AsyncIterator[tuple[MuxListener, Echo]]:
    """Yield a listener with an echo on 0x10, and the echo."""
    async with asyncio.timeout(30), streams.listening(short_dir) as both:
        yield both


# QUIC-20: callers that break off


def give_up(peer: Peer, how: str, stream_id: int = 0, code: int = 8) -> None:
    """Reset a stream, ask the other side to stop, or both."""
    if how in ("reset", "both"):
        peer.connection.reset_stream(stream_id, code)
    if how in ("stop", "both"):
        peer.connection.stop_stream(stream_id, code)
    peer.pump()


class Handler:
    """A gRPC method that answers once, then waits to be cancelled."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def wait(self, _requests: object, _context: object) -> AsyncIterator[bytes]:
        self._loop.call_soon_threadsafe(self.running.set)
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self._loop.call_soon_threadsafe(self.cancelled.set)

    @property
    def table(self) -> dict[str, object]:
        return {"Wait": grpc.stream_stream_rpc_method_handler(self.wait)}


GIVING_UP = ["reset", "stop", "both"]


@pytest.mark.parametrize("how", GIVING_UP)
async def test_giving_up_before_the_type_returns_the_slot(short_dir: Path, how: str) -> None:
    """A stream that is given up before its type byte is over on both sides, and another may be opened for it."""
    settings = QuicSettings(limits=LimitsConfig(streams=2))
    async with (
        streams.listening(short_dir, settings=settings) as (listener, echo),
        RawClient(listener.address) as peer,
    ):
        for number in range(20):
            await peer.until(lambda number=number: peer.connection._remote_max_streams_bidi > number)
            peer.send(4 * number, b"")
            give_up(peer, how, 4 * number)
        await streams.until(lambda: listener.stats()["streams_open"] == 0)
    assert echo.opened == 0


@pytest.mark.parametrize("how", GIVING_UP)
async def test_giving_up_closes_the_local_connection(stage: tuple[MuxListener, Echo], how: str) -> None:
    """Whatever half of a stream the caller gives up, the service's connection is closed within a second."""
    listener, echo = stage
    async with RawClient(listener.address) as peer:
        await streams.echoes(peer, 0)
        give_up(peer, how)
        await echo.until(lambda it: it.is_idle, seconds=1)
        await streams.echoes(peer, 4)
        assert listener.stats()["streams_open"] == 1


@pytest.mark.parametrize("stage_of_call", ["mid-request", "mid-response"])
@pytest.mark.parametrize("how", GIVING_UP)
async def test_giving_up_cancels_the_handler(short_dir: Path, how: str, stage_of_call: str) -> None:
    """A caller that gives up while it sends, or while it is answered, cancels the handler within a second."""
    handler = Handler()
    async with streams.serving(short_dir, handler.table) as listener, RawClient(listener.address) as peer:
        peer.send(0, bytes([GRPC_TYPE]) + streams.request("Wait"))
        await handler.running.wait()
        if stage_of_call == "mid-response":
            await peer.until(lambda: b"first" in peer.received[0])
        give_up(peer, how)
        async with asyncio.timeout(1):
            await handler.cancelled.wait()
            await streams.until(lambda: listener.stats()["streams_open"] == 0)


@pytest.mark.parametrize("how", GIVING_UP)
async def test_giving_up_after_the_trailers(short_dir: Path, how: str) -> None:
    """A caller that gives up once its call is done disturbs nothing, and its stream is over."""
    table = {"Hello": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"hello")}
    async with streams.serving(short_dir, table) as listener, RawClient(listener.address) as peer:
        peer.send(0, bytes([GRPC_TYPE]) + streams.request("Hello") + streams.message(end=True))
        await peer.until(lambda: b"grpc-status" in peer.received[0])
        give_up(peer, how)
        await streams.until(lambda: listener.stats()["streams_open"] == 0)
        await streams.echoes(peer, 4)


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
async def test_many_streams_given_up_at_random(stage: tuple[MuxListener, Echo], count: int) -> None:
    """Streams given up at random moments leave no connection, no stream and no file behind."""
    listener, _echo = stage
    dice = random.Random(count)
    async with RawClient(listener.address) as peer:
        for number in range(count):
            stream_id = 4 * number
            opening = ECHO + streams.HELLO + http2.SETTINGS * dice.choice([0, 1, 500])
            peer.send(stream_id, opening[: dice.choice([0, 1, 9999])])
            for _turn in range(dice.randrange(20)):
                await asyncio.sleep(0)
            give_up(peer, dice.choice(GIVING_UP), stream_id)
        await streams.echoes(peer, 4 * count)
        await streams.until(lambda: listener.stats()["streams_open"] == 1, lambda: asyncio.sleep(0.01))
        assert len(list(listener._directory.iterdir())) == 1


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.long)])
async def test_calls_given_up_again_and_again(short_dir: Path, count: int) -> None:
    """Of calls whose streams are given up in up to eight ways each, every handler that began is cancelled."""
    held, dice = Held(), random.Random(count)
    async with streams.serving(short_dir, held.handlers) as listener, RawClient(listener.address) as peer:
        for number in range(count):
            peer.send(4 * number, bytes([GRPC_TYPE]) + streams.request("Hold"))
            for _ in range(dice.randint(1, 8)):
                for _turn in range(dice.randrange(20)):
                    await asyncio.sleep(0)
                if not peer.connection._stream_is_discarded(4 * number):
                    give_up(peer, dice.choice(GIVING_UP), 4 * number)
        await streams.echoes(peer, 4 * count)
        await streams.until(
            lambda: listener.stats()["streams_open"] == 1 and held.now == 0, lambda: asyncio.sleep(0.01)
        )
    assert held.begun.count == held.cancelled.count > 0
