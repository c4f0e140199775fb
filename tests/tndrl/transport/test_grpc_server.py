"""A gRPC server on a thread of its own."""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import streams
from support.streams import GRPC_TYPE
from tndrl.errors import UsageError
from tndrl.transport.dialer import MuxDialer
from tndrl.transport.grpc_server import GrpcServer
from tndrl.transport.listener import MuxListener


async def thread_name(_request: bytes, _context: object) -> bytes:
    return threading.current_thread().name.encode()


async def block(_request: bytes, _context: object) -> bytes:
    time.sleep(1)  # noqa: ASYNC251 - what a bad handler does
    return b""


async def wait(_request: bytes, _context: object) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def size(request: bytes, _context: object) -> bytes:
    return str(len(request)).encode()


TABLE = {
    name: grpc.unary_unary_rpc_method_handler(handler)
    for name, handler in {"Thread": thread_name, "Block": block, "Wait": wait, "Size": size}.items()
}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    """Yield a server behind a listener, and a channel to it."""
    async with (
        streams.grpc_server(folder / "grpc", TABLE) as server,
        MuxListener(streams.credentials("a"), host="127.0.0.1", port=0) as listener,
        MuxDialer(streams.credentials("b")) as dialer,
    ):
        listener.bind(GRPC_TYPE, server.path)
        yield server, dialer.channel(streams.target(listener.address), GRPC_TYPE)


async def call(channel: grpc.aio.Channel, method: str, request: bytes = b"") -> bytes:
    """Call a method of the table."""
    return await channel.unary_unary(f"/test.Service/{method}")(request, timeout=10)


async def test_handlers_run_on_the_servers_thread(short_dir: Path) -> None:
    """The thread is named after the service."""
    async with served(short_dir) as (_server, channel):
        assert await call(channel, "Thread") == b"tndrl test"


async def test_a_blocking_handler_blocks_its_own_server_only(short_dir: Path) -> None:
    """While one server's handler sleeps, another server, and this loop, go on."""
    async with served(short_dir) as (_server, channel):
        other = GrpcServer("other", short_dir / "other", lambda _: None, interceptors=[], max_message=1024)
        blocked = asyncio.ensure_future(call(channel, "Block"))
        await other.start()
        assert "running" in repr(other)
        await other.stop()
        assert not blocked.done()
        await blocked


def mode_of(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_socket_is_its_owners(short_dir: Path) -> None:
    """Nobody else may connect, even where the folder lets them through."""
    async with served(short_dir) as (server, _channel):
        assert mode_of(Path(server.path)) == 0o600


async def test_a_message_over_the_limit(short_dir: Path) -> None:
    """The limit itself passes, one byte more is RESOURCE_EXHAUSTED."""
    async with served(short_dir) as (_server, channel):
        assert await call(channel, "Size", bytes(1 << 20)) == str(1 << 20).encode()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(channel, "Size", bytes((1 << 20) + 1))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_over_the_limit(short_dir: Path) -> None:
    """Metadata of more than 8 KiB is RESOURCE_EXHAUSTED."""
    async with served(short_dir) as (_server, channel):
        method = channel.unary_unary("/test.Service/Size")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(b"", metadata=(("big", "x" * 9000),), timeout=10)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_drain_waits_for_running_calls(short_dir: Path) -> None:
    """A call that runs may finish within the grace."""
    async with served(short_dir) as (server, channel):
        running = asyncio.ensure_future(call(channel, "Block"))
        await call(channel, "Thread")
        await server.drain(5)
        assert await running == b""


async def test_stop_cancels_running_calls(short_dir: Path) -> None:
    """A call that runs ends with the server, which stops once."""
    async with served(short_dir) as (server, channel):
        await call(channel, "Thread")
        running = asyncio.ensure_future(call(channel, "Wait"))
        await asyncio.sleep(0)
        await server.stop()
        await server.stop()
        await server.drain(1)
        with pytest.raises(grpc.aio.AioRpcError):
            await running
        assert "stopped" in repr(server)


async def test_a_registration_that_fails_is_raised(short_dir: Path) -> None:
    """What the registration raises comes out of start, and no thread is left."""
    server = GrpcServer("bad", short_dir / "s", lambda _: 1 / 0, interceptors=[], max_message=1024)
    with pytest.raises(ZeroDivisionError):
        await server.start()
    await server.stop()


async def test_a_path_that_cannot_be_listened_on(short_dir: Path) -> None:
    """A socket that cannot be made is an error of start."""
    server = GrpcServer("bad", short_dir / "no" / "s", lambda _: None, interceptors=[], max_message=1024)
    with pytest.raises(RuntimeError, match="Failed to bind"):
        await server.start()


def test_a_path_that_is_too_long() -> None:
    """A path that no unix socket can have is refused before anything starts."""
    with pytest.raises(UsageError, match="set TMPDIR"):
        GrpcServer("bad", Path("/" + "x" * 200), lambda _: None, interceptors=[], max_message=1024)
