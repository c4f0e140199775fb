"""What callers see of a node's limits: a status, and when to come again (H2-09, H2-15, H2-16)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

import tndrl
from support import nodes, streams
from support.refusals import retry_delay
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.control.state import NodeState
from tndrl.errors import AgentCallError
from tndrl.v1 import control_pb2

OK, EXHAUSTED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED


@asynccontextmanager
async def limited(folder: Path, **limits: int) -> AsyncIterator[tuple[tndrl.Node, Workshop, tndrl.Peer]]:
    """Yield a node with a workshop and these limits, and a caller."""
    workshop = Workshop()
    node = tndrl.Node(nodes.config(folder / "a", limits=limits))
    node.add_service(TYPE, workshop.add_to)
    async with node, nodes.calling(folder / "b", "b", node.address) as peer:
        yield node, workshop, peer
        await node.stop(graceful=False)


async def outcome(call: grpc.aio.Call) -> grpc.StatusCode:
    """Return the status of a call."""
    return await call.code()


async def test_calls_in_a_second(short_dir: Path) -> None:
    """Too many calls in a second are refused, with the moment from which on they are not; Control goes on."""
    async with limited(short_dir, callsPerSecond=20) as (node, workshop, peer):
        control, stub = nodes.control(peer), stub_of(peer)
        codes = Counter(await asyncio.gather(*(outcome(stub.Make(Work())) for _ in range(60))))
        assert set(codes) == {OK, EXHAUSTED}
        assert 20 <= codes[OK] == workshop.begun.count < 40
        assert node.stats()["calls_refused"] == codes[EXHAUSTED]
        await nodes.ping(control)
        for _ in range(3):
            with pytest.raises(
                grpc.aio.AioRpcError, match="20 calls a second by spiffe://tndrl/node/b"
            ) as raised:
                await asyncio.gather(*(stub.Make(Work()) for _ in range(40)))
            await asyncio.sleep(retry_delay(raised.value) + 0.1)
            assert await stub.Make(Work())
        del stub, control


async def test_control_has_a_rate_of_its_own(short_dir: Path) -> None:
    """Control is not free either."""
    async with limited(short_dir, callsPerSecond=20) as (node, _workshop, peer):
        control = nodes.control(peer)
        with pytest.raises(grpc.aio.AioRpcError, match="20 calls a second") as raised:
            await asyncio.gather(*(nodes.ping(control) for _ in range(40)))
        assert 0 < retry_delay(raised.value) <= 0.05
        assert node.stats()["control_calls_refused"] > 0
        assert await stub_of(peer).Make(Work())
        del control


async def test_calls_at_once_of_an_identity(short_dir: Path) -> None:
    """Calls at once are counted over all streams and connections of an identity."""
    async with (
        limited(short_dir, callsPerIdentity=10) as (node, workshop, peer),
        nodes.calling(short_dir / "b", "b", node.address) as same,
        nodes.calling(short_dir / "c", "c", node.address) as other,
    ):
        held = [stub_of(each).Make(Work(how="hold")) for each in (peer, same) for _ in range(5)]
        await workshop.begun.reach(10)
        with pytest.raises(grpc.aio.AioRpcError, match="10 calls at once by spiffe://tndrl/node/b") as raised:
            await stub_of(same).Make(Work())
        assert raised.value.code() is EXHAUSTED
        assert retry_delay(raised.value) == 0.1
        assert await stub_of(other).Make(Work())
        workshop.released.add()
        await asyncio.gather(*held)
        assert await stub_of(same).Make(Work())


async def test_calls_at_once_of_a_connection(short_dir: Path) -> None:
    """Calls at once are counted over all streams of a connection."""
    async with (
        limited(short_dir, callsPerConnection=10) as (node, workshop, peer),
        nodes.calling(short_dir / "b", "b", node.address) as same,
    ):
        held = [stub_of(peer).Make(Work(how="hold")) for _ in range(10)]
        await workshop.begun.reach(10)
        with pytest.raises(grpc.aio.AioRpcError, match="10 calls at once on one connection"):
            await stub_of(peer).Make(Work())
        assert await stub_of(same).Make(Work())
        workshop.released.add()
        await asyncio.gather(*held)


async def test_a_drain_says_when_to_come_again(short_dir: Path) -> None:
    """Calls that a draining node refuses, on streams it has and on new ones, say when to try again."""
    async with limited(short_dir) as (node, workshop, peer):
        stub = stub_of(peer)
        held = stub.Make(Work(how="hold"))
        await workshop.begun.reach()
        stopping = asyncio.ensure_future(node.stop(reason="for lunch"))
        await streams.until(lambda: node.state is NodeState.DRAINING)
        for each in (stub, stub_of(peer)):
            with pytest.raises(grpc.aio.AioRpcError, match="draining: for lunch") as raised:
                await each.Make(Work())
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert retry_delay(raised.value) == 1.0
        workshop.released.add()
        assert await held
        assert await stopping


async def test_control_takes_small_messages_only(short_dir: Path) -> None:
    """A request above ``limits.controlMessage`` is refused, and the next one answered."""
    async with limited(short_dir, controlMessage=2048) as (_node, _workshop, peer):
        stub = nodes.control(peer)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Shutdown(control_pb2.ShutdownRequest(reason="x" * 4096))
        assert raised.value.code() is EXHAUSTED
        await nodes.ping(stub)


async def test_an_agents_answer_is_bounded(short_dir: Path) -> None:
    """A caller takes no answer above ``limits.agentAnswer``, and gets the next one."""
    async with (
        nodes.running(short_dir / "a", llm__provider="echo") as node,
        nodes.calling(short_dir / "b", "b", node.address, limits={"agentAnswer": 8192}) as peer,
        peer.agent() as agent,
    ):
        with pytest.raises(AgentCallError, match="RESOURCE_EXHAUSTED"):
            await agent.send("x" * 32768)
        assert await agent.send("hello")
