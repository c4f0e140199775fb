"""Processes that are told to stop with their hands full, by signals and by Shutdown (LIFE-01, 02)."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

import tndrl
from support import leaks, nodes, processes
from support.processes import NodeProcess
from support.workshop import Work, stub_of
from tndrl.v1 import control_pb2

CHANNELS = 4
CALLS = 50
"""On each of the channels."""

Stop = Callable[[NodeProcess, tndrl.Peer], Awaitable[object]]


async def by_sigterm(node: NodeProcess, _peer: tndrl.Peer) -> None:
    node.signal(signal.SIGTERM)


async def by_sigint(node: NodeProcess, _peer: tndrl.Peer) -> None:
    node.signal(signal.SIGINT)


async def by_shutdown(_node: NodeProcess, peer: tndrl.Peer) -> None:
    answer = await nodes.control(peer).Shutdown(control_pb2.ShutdownRequest(graceful=True))
    assert answer.accepted


def unary(stub: object, seconds: float) -> Awaitable[int]:
    """Begin a call that lasts ``seconds`` and gives 3 bytes."""

    async def call() -> int:
        return len((await stub.Make(Work(material=b"oak", seconds=seconds))).material)

    return asyncio.ensure_future(call())


def stream(stub: object, seconds: float) -> Awaitable[int]:
    """Begin a call that gives 15 bytes in ``seconds``, a few at a time."""

    async def call() -> int:
        work = Work(material=b"oak", seconds=seconds / 5, pieces=5)
        return sum([len(piece.material) async for piece in stub.MakeMany(work)])

    return asyncio.ensure_future(call())


async def until_running(peer: tndrl.Peer, calls: int) -> None:
    """Wait until the node says that it runs so many calls."""
    while (await nodes.status(peer)).active_tasks < calls:
        pass


@pytest.mark.parametrize("stop", [by_sigterm, by_sigint, by_shutdown])
@pytest.mark.parametrize("round_", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 100))])
async def test_no_running_call_is_lost(short_dir: Path, stop: Stop, round_: int) -> None:
    """Of 200 calls over four channels none fails, the node is DRAINING meanwhile, refuses new ones and exits 0."""
    longest, lengths = (5.0 if round_ else 2.0), random.Random(round_)
    async with (
        processes.serving(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "a", node.address) as peer,
    ):
        stubs = [stub_of(peer) for _ in range(CHANNELS)]
        kinds = [unary, stream] * (CALLS // 2)
        running = [kind(stub, lengths.uniform(longest / 2, longest)) for stub in stubs for kind in kinds]
        began = time.monotonic()
        await until_running(peer, CHANNELS * CALLS)
        await stop(node, peer)
        while (status := await nodes.status(peer)).state != control_pb2.NODE_STATE_DRAINING:
            pass
        assert status.active_tasks > 0
        with pytest.raises(grpc.aio.AioRpcError, match="the node is draining"):
            await stubs[0].Make(Work())
        assert sorted(await asyncio.gather(*running)) == [3] * 100 + [15] * 100
        ended = await node.ended()
        assert (ended.code, ended.out) == (0, "")
        assert time.monotonic() - began < longest + 1 + 1
        del stubs, running


async def test_the_drain_limit(short_dir: Path) -> None:
    """A node whose calls outlast the limit cuts them, with the reason in their details, and exits 1."""
    async with (
        processes.serving(short_dir / "a", server__drainTimeout=0.5) as node,
        nodes.calling(short_dir / "b", "a", node.address) as peer,
    ):
        call = stub_of(peer).Make(Work(how="hold"))
        await until_running(peer, 1)
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError, match="SIGTERM") as raised:
            await call
        assert (await node.ended()).code == 1
        assert 0.5 <= time.monotonic() - began < 0.5 + 1
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "SIGTERM" in str(peer.failure)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal(short_dir: Path, second: signal.Signals) -> None:
    """A node that drains ends at once at the next signal, with 1."""
    async with (
        processes.serving(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "a", node.address) as peer,
    ):
        _call = stub_of(peer).Make(Work(how="hold"))
        await until_running(peer, 1)
        node.signal(signal.SIGTERM)
        while (await nodes.status(peer)).state != control_pb2.NODE_STATE_DRAINING:
            pass
        began = time.monotonic()
        node.signal(second)
        assert (await node.ended()).code == 1
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3, 0.4])
async def test_a_signal_during_the_start(short_dir: Path, delay: float) -> None:
    """SIGTERM at any moment of the start ends the process without a traceback and without files left."""
    file = processes.write_config(short_dir)
    async with processes.starting(file) as node:
        await asyncio.sleep(delay)  # the moment is the case
        node.signal(signal.SIGTERM)
        ended = await node.ended()
    assert ended.code in (0, -signal.SIGTERM)  # before Python has our handler, the system's default
    assert "Traceback" not in ended.err
    assert leaks.files(short_dir / "tmp") == set()


async def test_nothing_is_left(short_dir: Path) -> None:
    """A node that has stopped leaves no temporary file, and its state directory to the next."""
    file = processes.write_config(short_dir)
    for _ in range(2):
        async with processes.starting(file) as node:
            await node.ready()
            node.signal(signal.SIGTERM)
            assert (await node.ended()).code == 0
            assert leaks.files(short_dir / "tmp") == set()
