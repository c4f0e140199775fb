"""A service that dies, takes no connections, or is not there: its own streams fail, and work again with it (H2-17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import requires, streams
from support.refusals import retry_delay
from support.streams import GRPC_TYPE, RawClient
from tndrl.transport.refusal import SOON

METHOD = "/test.Service/Say"
HOLD = "/test.Service/Hold"


async def say(request: bytes, _context: object) -> bytes:
    """Answer what was said."""
    return request


async def hold(_request: bytes, _context: object) -> bytes:
    """Answer nothing."""
    await asyncio.Event().wait()
    raise AssertionError


HANDLERS = {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Hold": grpc.unary_unary_rpc_method_handler(hold),
}


async def call(channel: grpc.aio.Channel, method: str = METHOD) -> bytes:
    """Call a method of the service."""
    return await channel.unary_unary(method)(b"hello", timeout=10)


async def fails(calling: Awaitable[bytes]) -> grpc.aio.AioRpcError:
    """Check that a call fails as UNAVAILABLE, and return its error."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await calling
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    return raised.value


async def is_turned_away(calling: Awaitable[bytes]) -> None:
    """Check that a call is told why its service does not answer, and when to try again."""
    error = await fails(calling)
    assert "cannot be reached" in str(error.details())
    assert retry_delay(error) == SOON


async def test_a_service_that_dies(short_dir: Path) -> None:
    """Its running calls fail; other streams of the connection go on; a call after its return passes."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        RawClient(listener.address) as other,
        streams.dialer() as dialer,
    ):
        await streams.echoes(other, 0)
        channel = dialer.channel(streams.target(listener.address, streams.node_id("a")), GRPC_TYPE)
        async with streams.grpc_server(short_dir / "grpc", HANDLERS) as server:
            listener.bind(GRPC_TYPE, server.path)
            assert await call(channel) == b"hello"
            held = asyncio.ensure_future(call(channel, HOLD))
            await streams.until(lambda: listener.stats()["streams_open"] == 2, lambda: asyncio.sleep(0.01))
            assert await call(channel) == b"hello"
        await fails(held)
        await is_turned_away(call(channel))
        await streams.echoes(other, 4)
        async with streams.grpc_server(short_dir / "grpc", HANDLERS):
            assert await streams.eventually(lambda: call(channel)) == b"hello"
        await channel.close()


async def test_a_service_that_takes_no_connections(short_dir: Path) -> None:
    """A call to one whose queue is full fails in a second or two; other streams go on; then it passes."""
    requires.linux()
    async with (
        streams.listening(short_dir) as (listener, _echo),
        RawClient(listener.address) as other,
        streams.dialer() as dialer,
    ):
        channel = dialer.channel(streams.target(listener.address, streams.node_id("a")), GRPC_TYPE)
        with streams.full_server(short_dir / "full"):
            listener.bind(GRPC_TYPE, str(short_dir / "full"))
            calling = asyncio.ensure_future(call(channel))
            await streams.echoes(other, 0)
            await is_turned_away(calling)
            assert listener.stats()["backends_unreachable"] >= 1
        async with streams.grpc_server(short_dir / "grpc", HANDLERS) as server:
            listener.bind(GRPC_TYPE, server.path)
            assert await call(channel) == b"hello"
        await channel.close()


async def test_a_path_that_is_no_socket(short_dir: Path) -> None:
    """A file where the service's socket should be fails the call, and nothing else."""
    (short_dir / "file").write_text("no socket")
    async with (
        streams.listening(short_dir) as (listener, _echo),
        RawClient(listener.address) as other,
        streams.dialer() as dialer,
    ):
        listener.bind(GRPC_TYPE, str(short_dir / "file"))
        channel = dialer.channel(streams.target(listener.address, streams.node_id("a")), GRPC_TYPE)
        await is_turned_away(call(channel))
        await streams.echoes(other, 0)
        await channel.close()
