"""The load on bare streams: one request a stream, for the peers that carry no gRPC.

A stream begins with an operation and a count; then messages of the service's sizes follow without any framing.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bench.load import LARGE, SMALL

HEAD = struct.Struct("!BI")
UNARY, DOWN, UP, BOTH = range(4)

Read = Callable[[], Awaitable[bytes]]
"""Returns what has come, nothing at the end."""
Write = Callable[[bytes], Awaitable[None]]


class Bytes(Protocol):
    """A stream of bytes."""

    async def read(self) -> bytes:
        """Return what has come, nothing at the end."""

    async def write(self, data: bytes) -> None:
        """Send."""

    async def finish(self) -> None:
        """Send nothing more."""


async def answer(stream: Bytes) -> None:
    """Do on the serving side what the head of a stream asks for."""
    head = b""
    while len(head) < HEAD.size:
        data = await stream.read()
        if not data:
            return
        head += data
    what, count = HEAD.unpack(head[: HEAD.size])
    received = len(head) - HEAD.size
    if what == DOWN:
        await send_many(stream, count)
    elif what == UNARY:
        while received < SMALL:
            received += len(await stream.read())
        await stream.write(bytes(SMALL))
    elif what == UP:
        while data := await stream.read():
            received += len(data)
        await stream.write(received.to_bytes(8, "big"))
    else:
        sent = 0
        while data := await stream.read():
            received += len(data)
            if (due := received // LARGE) > sent:
                await send_many(stream, due - sent)
                sent = due
    await stream.finish()


async def send_many(stream: Bytes, count: int) -> None:
    """Send ``count`` large messages."""
    chunk = bytes(LARGE)
    for _ in range(count):
        await stream.write(chunk)


async def receive_all(stream: Bytes) -> int:
    """Return how many bytes come until the end."""
    size = 0
    while data := await stream.read():
        size += len(data)
    return size


class StreamCaller:
    """Calls the load on bare streams; ``open_stream`` returns a fresh one."""

    def __init__(self, open_stream: Callable[[], Awaitable[Bytes]]) -> None:
        self._open = open_stream

    async def unary(self, timeout: float = 30.0) -> None:  # as gRPC's
        """Send and receive a small message."""
        stream = await self._open()
        await stream.write(HEAD.pack(UNARY, 1) + bytes(SMALL))
        await stream.finish()
        size = await receive_all(stream)
        if size != SMALL:
            raise AssertionError(f"{size} bytes came back of {SMALL}")

    async def down(self, count: int) -> int:
        """Receive large messages."""
        stream = await self._open()
        await stream.write(HEAD.pack(DOWN, count))
        await stream.finish()
        return await receive_all(stream)

    async def up(self, count: int) -> int:
        """Send large messages; returns the bytes that the server counted."""
        stream = await self._open()
        await stream.write(HEAD.pack(UP, count))
        await send_many(stream, count)
        await stream.finish()
        counted = b""
        while data := await stream.read():
            counted += data
        return int.from_bytes(counted, "big")

    async def both(self, count: int) -> int:
        """Do both at once."""
        stream = await self._open()
        await stream.write(HEAD.pack(BOTH, count))

        async def send() -> None:
            await send_many(stream, count)
            await stream.finish()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            received = await receive_all(stream)
        return received + count * LARGE


class StreamConnection:
    """A connection without gRPC: each call is a stream that ``open_stream`` returns."""

    def __init__(self, open_stream: Callable[[], Awaitable[Bytes]]) -> None:
        self._open = open_stream

    def caller(self) -> StreamCaller:
        """Return a caller."""
        return StreamCaller(self._open)

    def agent(self) -> Any:
        """There is none."""
        raise NotImplementedError("bare streams carry no agent")

    async def ping(self) -> None:
        """Make a small call."""
        await self.caller().unary()
