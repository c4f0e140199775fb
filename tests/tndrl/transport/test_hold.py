"""Calls that wait before they begin: how long, for what, and what they hear when it was in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from support import streams
from support.streams import GRPC_TYPE
from tndrl.errors import NoAnswerError, TndrlError
from tndrl.transport.loop_bound import LoopBoundChannel

DOWN = NoAnswerError("b:1", 3)


class Barrier:
    """A gate that the test opens, in front of a real connection."""

    def __init__(self) -> None:
        self.failure: TndrlError | None = DOWN
        self.asked: list[bool] = []
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let everybody pass."""
        self.failure = None
        self._opened.set()

    def is_open(self, *, waits: bool) -> bool:
        """Return whether a call may begin."""
        return self._opened.is_set()

    async def opened(self, *, waits: bool) -> bool:
        """Wait until the test opens."""
        self.asked.append(waits)
        await self._opened.wait()
        return False

    async def until_asked(self, count: int = 1) -> None:
        """Wait until so many calls are held."""
        await streams.until(lambda: len(self.asked) == count)


async def echo_one(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """Answer with the request, and with how long the call may last."""
    left = context.time_remaining()
    return request if left is None else str(left).encode()


async def echo_many(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
    """Answer each request."""
    async for request in requests:
        yield request


async def join(requests: AsyncIterator[bytes], _context: object) -> bytes:
    """Answer all requests."""
    return b"".join([request async for request in requests])


async def split(request: bytes, _context: object) -> AsyncIterator[bytes]:
    """Answer with one byte after the other."""
    for byte in request:
        yield bytes([byte])


TABLE = {
    "unary_unary": grpc.unary_unary_rpc_method_handler(echo_one),
    "unary_stream": grpc.unary_stream_rpc_method_handler(split),
    "stream_unary": grpc.stream_unary_rpc_method_handler(join),
    "stream_stream": grpc.stream_stream_rpc_method_handler(echo_many),
}


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[tuple[LoopBoundChannel, Barrier]]:
    """Yield a channel behind a closed gate."""
    async with streams.serving(folder, TABLE) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE)
        assert isinstance(channel, LoopBoundChannel)
        barrier = Barrier()
        channel._gate = channel._hold._gate = barrier
        yield channel, barrier


async def one_of(call: Any) -> bytes:
    """Return the answer."""
    return await call


async def all_of(call: Any) -> bytes:
    """Return the answers in one."""
    return b"".join([answer async for answer in call])


KINDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "unary_unary": (b"abc", one_of),
    "unary_stream": (b"abc", all_of),
    "stream_unary": ([b"a", b"bc"], one_of),
    "stream_stream": ([b"a", b"bc"], all_of),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_held_call_begins_when_the_gate_opens(short_dir: Path, kind: str) -> None:
    """Calls of every kind wait, and end as if they never had; who asked to wait for the peer is told apart."""
    request, outcome = KINDS[kind]
    async with held(short_dir) as (channel, barrier), asyncio.timeout(5):
        calls = [
            getattr(channel, kind)(f"/test.Service/{kind}")(request, wait_for_ready=waits)
            for waits in (True, False)
        ]
        await barrier.until_asked(2)
        assert sorted(barrier.asked) == [False, True]
        barrier.open()
        assert [await outcome(call) for call in calls] == [b"abc", b"abc"]
        assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_held_call_keeps_its_deadline(short_dir: Path, kind: str) -> None:
    """When its time is over before the gate opens, a call says so and why there is no connection."""
    request, outcome = KINDS[kind]
    async with held(short_dir) as (channel, _barrier):
        call = getattr(channel, kind)(f"/test.Service/{kind}")(request, timeout=0.05)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await outcome(call)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert raised.value.details() == f"no connection before the deadline: {DOWN}"
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_time_spent_waiting_is_spent(short_dir: Path) -> None:
    """The service sees what is left of the call's time, not all of it."""
    async with held(short_dir) as (channel, barrier):
        call = channel.unary_unary("/test.Service/unary_unary")(b"", timeout=100)
        await barrier.until_asked()
        await asyncio.sleep(0.3)  # time that passes is what the test is about
        barrier.open()
        assert 90 < float(await call) <= 99.7


async def test_a_held_call_can_be_cancelled(short_dir: Path) -> None:
    """A held call that is cancelled never begins."""
    async with held(short_dir) as (channel, barrier):
        call = channel.unary_unary("/test.Service/unary_unary")(b"x")
        await barrier.until_asked()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await call.code() is grpc.StatusCode.CANCELLED
        assert channel.get_state() is grpc.ChannelConnectivity.IDLE


async def test_closing_the_channel_cancels_what_it_holds(short_dir: Path) -> None:
    """Held calls end with their channel, as running ones do."""
    async with held(short_dir) as (channel, barrier):
        call = channel.unary_unary("/test.Service/unary_unary")(b"x")
        await barrier.until_asked()
        await channel.close()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_the_callers_interceptors_come_first(short_dir: Path) -> None:
    """Interceptors of the caller's see a held call like any other."""
    seen = []

    class Watch(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return await continuation(details, request)

    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE, interceptors=[Watch()])
        for _ in range(2):  # the first is held, as there is no connection
            await channel.unary_unary("/test.Service/unary_unary")(b"x", wait_for_ready=True, timeout=5)
        assert len(seen) == 2
        assert listener.stats()["streams_bridged"] == 1
