"""A channel that knows its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import streams
from support.streams import GRPC_TYPE
from tndrl.errors import UsageError
from tndrl.transport.loop_bound import LoopBoundChannel


async def echo_unary(request: bytes, _context: object) -> bytes:
    return request


async def echo_stream(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


TABLE = {
    "Unary": grpc.unary_unary_rpc_method_handler(echo_unary),
    "Stream": grpc.stream_stream_rpc_method_handler(echo_stream),
}
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[LoopBoundChannel]:
    """Yield a channel to a service."""
    async with streams.serving(folder, TABLE) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE)
        assert isinstance(channel, LoopBoundChannel)
        yield channel


async def test_it_is_an_ordinary_channel_here(short_dir: Path) -> None:
    """On its own loop calls and states are grpcio's."""
    async with opened(short_dir) as channel, asyncio.timeout(5):
        assert channel.get_state() is grpc.ChannelConnectivity.IDLE
        assert await channel.unary_unary("/test.Service/Unary")(b"x") == b"x"
        call = channel.stream_stream("/test.Service/Stream")(iter([b"1", b"2"]))
        assert [answer async for answer in call] == [b"1", b"2"]
        await channel.channel_ready()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        await channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE)


@pytest.mark.parametrize("kind", KINDS)
async def test_another_loop_is_told(short_dir: Path, kind: str) -> None:
    """A call from another event loop raises at once, instead of hanging."""
    async with opened(short_dir) as channel:

        async def elsewhere() -> None:
            getattr(channel, kind)("/test.Service/Unary")(b"x")

        with pytest.raises(UsageError, match="belongs to another event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())


async def test_it_closes_with_its_block(short_dir: Path) -> None:
    """Leaving the block closes the channel for good."""
    async with opened(short_dir) as channel:
        async with channel as same:
            assert same is channel
        with pytest.raises(grpc.aio.UsageError):
            await channel.unary_unary("/test.Service/Unary")(b"x")


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_that_must_not_run_twice_are_announced(short_dir: Path, kind: str) -> None:
    """The gate of early data hears of each such call before grpcio does, and of its end; of idempotent ones never."""
    method = "/test.Service/Stream"
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE, idempotent=[method])
        gate, request = channel._early, b"x" if kind.startswith("unary") else iter([b"x"])
        getattr(channel, kind)(method)(request).cancel()
        assert gate.is_open
        call = getattr(channel, kind)("/test.Service/Other")(request)
        assert not gate.is_open
        # UNIMPLEMENTED; grpcio makes INTERNAL of it where the answer comes before it has written its request.
        assert await call.code() is not grpc.StatusCode.OK
        await streams.until(lambda: gate.is_open)


async def test_a_call_that_cannot_begin_has_ended(short_dir: Path) -> None:
    """A call that raises at once holds nothing."""
    async with opened(short_dir) as channel:
        with pytest.raises(TypeError):
            channel.unary_unary("/test.Service/Unary")(b"x", no_such_option=1)
        assert channel._early.is_open
