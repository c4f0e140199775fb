"""A stream that no service takes: how each of its calls is answered, by hand and with grpcio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import streams
from support.refusals import retry_delay
from support.streams import frame
from tndrl.errors import StreamResetError
from tndrl.transport.http2 import PREFACE, SETTINGS, FrameGate, Opening, goaway
from tndrl.transport.inbound import read_preface
from tndrl.transport.memory import memory_pair
from tndrl.transport.refusal import Refusal
from tndrl.transport.turn_away import turn_away
from tndrl.transport.unix import UnixStream

REASON = "100 % of \N{SNOWMAN} are gone; " + "x" * 300
REFUSAL = Refusal(grpc.StatusCode.UNAVAILABLE, REASON, 2.5)
ACK = frame(4, 1, 0, b"")
CALL = streams.request("Any").removeprefix(PREFACE) + streams.message(b"body", end=True)


async def answered(data: bytes, size: int) -> bytes:
    """Return what a client that sends ``data`` in pieces of ``size`` gets."""
    client, server = memory_pair(capacity=1 << 20)
    playing = asyncio.ensure_future(turn_away(server, Refusal(grpc.StatusCode.UNAVAILABLE, "no")))
    for at in range(0, len(data), size):
        await client.send(data[at : at + size])
        await asyncio.sleep(0)
    await client.send_eof()
    async with asyncio.timeout(5):
        await playing
    received = b""
    while more := await client.receive():
        received += more
    return received


BLOCK = b"\x88\0\x0ccontent-type\x10application/grpc\0\x0bgrpc-status\x0214\0\x0cgrpc-message\x02no"


FAREWELL = goaway("no") + frame(6, 0, 0, bytes(8))
PONG = frame(6, 1, 0, bytes(8))


@pytest.mark.parametrize("size", [1, 9, 10, 1000])
async def test_each_call_has_its_answer(size: int) -> None:
    """However the client's bytes are cut, SETTINGS are acknowledged, each call is answered, and GOAWAY comes once."""
    second = frame(1, 4, 3, b"abc") + frame(0, 1, 3, bytes(500))
    assert await answered(CALL + second, size) == (
        SETTINGS + ACK + frame(1, 5, 1, BLOCK) + FAREWELL + frame(1, 5, 3, BLOCK)
    )


async def test_it_ends_when_no_call_is_on_its_way() -> None:
    """The acknowledgement of the PING behind GOAWAY ends what is sent, not one before."""
    client, server = memory_pair(capacity=1 << 20)
    playing = asyncio.ensure_future(turn_away(server, REFUSAL))
    await client.send(PONG + CALL)
    received = b""
    async with asyncio.timeout(5):
        while not received.endswith(frame(6, 0, 0, bytes(8))):
            received += await client.receive()
        await client.send(PONG)
        assert await client.receive() == b""
        await client.send_eof()
        await playing


@pytest.mark.parametrize("size", [0, 1, 24, 33, 40, len(PREFACE + CALL)])
async def test_it_goes_on_from_what_was_seen(size: int) -> None:
    """A call that began before is answered too, and a client that had SETTINGS gets none again."""
    data = PREFACE + CALL
    client, server = memory_pair(capacity=1 << 20)
    opening = Opening(FrameGate())
    opening.feed(data[:size])
    await client.send(data[size:])
    await client.send_eof()
    async with asyncio.timeout(5):
        await turn_away(server, Refusal(grpc.StatusCode.UNAVAILABLE, "no"), seen=opening)
    received = b""
    while more := await client.receive():
        received += more
    assert received == ACK + frame(1, 5, 1, BLOCK) + FAREWELL


async def test_a_client_without_a_call_gets_none() -> None:
    """A client that ends before its first call is let go."""
    assert await answered(SETTINGS + ACK, 100) == SETTINGS + ACK


async def test_a_client_that_breaks_off_is_no_fault() -> None:
    """A client that is gone ends it with the error of its stream."""
    client, server = memory_pair()
    client.abort(5)
    with pytest.raises(StreamResetError):
        await turn_away(server, REFUSAL)


@asynccontextmanager
async def turning_away(path: Path) -> AsyncIterator[list[UnixStream]]:
    """Turn everybody away who connects to ``path``; yields the connections."""
    connections: list[UnixStream] = []

    async def accept(listener: socket.socket, group: asyncio.TaskGroup) -> None:
        while True:
            connection, _name = await asyncio.get_running_loop().sock_accept(listener)
            connection.setblocking(False)
            connections.append(UnixStream(connection))
            group.create_task(serve(connections[-1]))

    async def serve(stream: UnixStream) -> None:
        await read_preface(stream, 5)
        await turn_away(stream, REFUSAL)
        await stream.aclose()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(accept(listener, group))
            yield connections
            accepting.cancel()


async def test_grpcio_understands_it(short_dir: Path) -> None:
    """A channel's calls, many at once and one after another, get the status, its text and its details."""
    async with (
        turning_away(short_dir / "s") as connections,
        grpc.aio.insecure_channel(f"unix:{short_dir}/s") as channel,
    ):
        method = channel.unary_unary("/test.Service/Any")
        calls = [method(b"x", timeout=5) for _ in range(20)]
        for call in [*calls, method(b"x", timeout=5)]:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.UNAVAILABLE, REASON)
            assert retry_delay(raised.value) == 2.5
    assert len(connections) <= 2
