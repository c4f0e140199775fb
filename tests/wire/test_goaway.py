"""A server's GOAWAY on a stream (RFC 9113 section 6.8): running calls finish, others go to a new stream (H2-12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from rogue.peer import Peer, RogueServer
from support import streams
from support.streams import frame
from tndrl.transport import http2
from tndrl.transport.dialer import MuxDialer

DATA, HEADERS, GOAWAY = 0x00, 0x01, 0x07
END_STREAM = 0x01
HIGHEST = 0x7FFFFFFF


def literal(fields: dict[str, str]) -> bytes:
    """Return a header block without a table or Huffman codes (RFC 7541 section 6.2.2)."""
    texts = [(name.encode(), value.encode()) for name, value in fields.items()]
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in texts)


class Http2:
    """The server's side of one stream, by hand."""

    def __init__(self, peer: Peer, stream_id: int) -> None:
        self._peer = peer
        self._stream_id = stream_id
        peer.send(stream_id, http2.SETTINGS)

    @property
    def calls(self) -> list[int]:
        """The HTTP/2 streams whose request has come whole, in order."""
        data, whole = self._peer.received[self._stream_id][1 + len(http2.PREFACE) :], []
        while len(data) >= 9:
            size = 9 + int.from_bytes(data[:3], "big")
            if data[3] == DATA and data[4] & END_STREAM and len(data) >= size:
                whole.append(int.from_bytes(data[5:9], "big"))
            data = data[size:]
        return whole

    async def until_called(self, count: int) -> None:
        """Wait until so many requests have come."""
        await self._peer.until(lambda: len(self.calls) >= count)

    def answer(self, call: int) -> None:
        """Answer one request with the number of its stream."""
        begin = literal({":status": "200", "content-type": "application/grpc"})
        body = b"%d/%d" % (self._stream_id, call)
        end = literal({"grpc-status": "0"})
        self._peer.send(
            self._stream_id,
            frame(HEADERS, 0x04, call, begin)
            + frame(DATA, 0, call, b"\0" + len(body).to_bytes(4, "big") + body)
            + frame(HEADERS, 0x05, call, end),
        )

    def go_away(self, last: int) -> None:
        """Send GOAWAY."""
        self._peer.send(self._stream_id, frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)))

    def end(self) -> None:
        """End the stream."""
        self._peer.send(self._stream_id, b"", end=True)


class Scene:
    """A caller's method, and the server that it reaches."""

    def __init__(self, server: RogueServer, dialer: MuxDialer) -> None:
        channel = dialer.channel(streams.target(server.address, streams.node_id("rogue")), 0x10)
        self.call = channel.unary_unary("/test.Service/Any")
        self._server = server
        self._peer: Peer | None = None

    async def stream(self, number: int) -> Http2:
        """Wait for the caller's stream with this number, from 0, and play its server."""
        self._peer = self._peer or await self._server.peer()
        stream_id = 4 * number
        await self._peer.until(lambda: len(self._peer.received[stream_id]) > len(http2.PREFACE))
        return Http2(self._peer, stream_id)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Yield a caller and a server."""
    async with one_scene() as made:
        yield made
    vars(made).clear()  # pytest keeps it, and a closed channel keeps grpcio's poller alive


@asynccontextmanager
async def one_scene() -> AsyncIterator[Scene]:
    """Yield a caller and a server."""
    async with (
        RogueServer(streams.honest("rogue")) as server,
        streams.dialer() as dialer,
        asyncio.timeout(10),
    ):
        yield Scene(server, dialer)


async def test_before_any_call_is_taken(scene: Scene) -> None:
    """A call that the server says it has not touched is made again on a new stream; the caller sees an answer only."""
    call = scene.call(b"")
    first = await scene.stream(0)
    first.go_away(0)
    first.end()
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await call == b"4/1"


async def test_between_two_calls(scene: Scene) -> None:
    """After a GOAWAY the next call goes to a new stream of the same connection."""
    call = scene.call(b"")
    first = await scene.stream(0)
    await first.until_called(1)
    first.answer(1)
    assert await call == b"0/1"
    first.go_away(1)
    first.end()
    call = scene.call(b"")
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await call == b"4/1"


@pytest.mark.parametrize("announced", [False, True])
async def test_a_lower_last_stream(scene: Scene, announced: bool) -> None:
    """Calls up to the last stream ID finish where they are, later ones are made again; a first GOAWAY may name all."""
    calls = [scene.call(b"") for _ in range(3)]
    first = await scene.stream(0)
    await first.until_called(3)
    if announced:
        first.go_away(HIGHEST)
    first.go_away(3)
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    for call in (1, 3):
        first.answer(call)
    first.end()
    assert sorted([await call for call in calls]) == [b"0/1", b"0/3", b"4/1"]
    assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 3


async def test_during_a_call(scene: Scene) -> None:
    """A call under way when GOAWAY comes is answered, though the next is on another stream already."""
    running = scene.call(b"")
    first = await scene.stream(0)
    await first.until_called(1)
    first.go_away(1)
    await first._peer.settle()
    later = scene.call(b"")
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await later == b"4/1"
    first.answer(1)
    first.end()
    assert await running == b"0/1"
