"""A caller of ours, and the server of its streams played by hand: HTTP/2 frame by frame over a rogue's QUIC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rogue.peer import Peer, RogueServer
from support import streams
from support.streams import frame
from tndrl.transport import http2
from tndrl.transport.dialer import MuxDialer

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x00, 0x01, 0x03, 0x04, 0x06, 0x07
END_STREAM = ACK = 0x01
END_HEADERS, PADDED = 0x04, 0x08
BEGIN = {":status": "200", "content-type": "application/grpc"}
END = {"grpc-status": "0"}


def literal(fields: dict[str, str]) -> bytes:
    """Return a header block without a table or Huffman codes (RFC 7541 section 6.2.2)."""
    texts = [(name.encode(), value.encode()) for name, value in fields.items()]
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in texts)


def message(body: bytes) -> bytes:
    """Return a gRPC message with its prefix."""
    return b"\0" + len(body).to_bytes(4, "big") + body


class Http2:
    """The server's side of one stream, by hand."""

    def __init__(self, peer: Peer, stream_id: int) -> None:
        self._peer = peer
        self._stream_id = stream_id
        peer.send(stream_id, http2.SETTINGS)

    @property
    def calls(self) -> list[int]:
        """The HTTP/2 streams whose request has come whole, in order."""
        return [stream for kind, flags, stream, _body in self.frames if kind == DATA and flags & END_STREAM]

    async def until_called(self, count: int) -> None:
        """Wait until so many requests have come."""
        await self._peer.until(lambda: len(self.calls) >= count)

    def answer(self, call: int) -> None:
        """Answer one request with the number of its stream."""
        body = b"%d/%d" % (self._stream_id, call)
        self.begin(call)
        self.send(frame(DATA, 0, call, message(body)))
        self.finish(call)

    def begin(self, call: int) -> None:
        """Send the header fields of an answer."""
        self.send(frame(HEADERS, END_HEADERS, call, literal(BEGIN)))

    def finish(self, call: int) -> None:
        """Send the trailer fields of an answer."""
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, call, literal(END)))

    def reset(self, call: int, code: int = 0) -> None:
        """Reset one request."""
        self.send(frame(RST_STREAM, 0, call, code.to_bytes(4, "big")))

    def send(self, data: bytes) -> None:
        """Send bytes on the stream."""
        self._peer.send(self._stream_id, data)

    @property
    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Type, flags, stream and body of each whole frame that has come."""
        data, whole = self._peer.received[self._stream_id][1 + len(http2.PREFACE) :], []
        while len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
            whole.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:size]))
            data = data[size:]
        return whole

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come."""
        await self._peer.until(condition)

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


@asynccontextmanager
async def one_scene() -> AsyncIterator[Scene]:
    """Yield a caller and a server."""
    async with (
        RogueServer(streams.honest("rogue")) as server,
        streams.dialer() as dialer,
        asyncio.timeout(10),
    ):
        yield Scene(server, dialer)
