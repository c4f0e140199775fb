"""A peer that is away, and comes back: calls fail with the cause or wait, and the channel lives on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

import tndrl
from support import certs, nodes, processes, requires, streams
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.errors import PortClosedError
from tndrl.node.peer import resolve_target
from tndrl.v1.control_pb2 import PingRequest
from tndrl.v1.control_pb2_grpc import ControlServiceStub


@asynccontextmanager
async def away(folder: Path, **flags: object) -> AsyncIterator[tuple[tndrl.Peer, str]]:
    """Yield a peer whose node has stopped, and the address that it had."""
    async with nodes.running(folder / "a") as node:
        address = node.address
        async with nodes.calling(folder / "b", "b", address, **flags) as peer:
            await nodes.ping(nodes.control(peer))
            session = nodes.session_of(peer)
            await node.stop(graceful=False)
            await session.wait_closed()
            yield peer, address


async def test_a_call_waits_for_the_peer(short_dir: Path) -> None:
    """With wait-for-ready a call that is made while the peer is away is answered when it is back."""
    requires.linux()
    async with away(short_dir) as (peer, address):
        stub = nodes.control(peer)
        waiting = stub.Ping(PingRequest(timestamp=1), wait_for_ready=True)
        await nodes.until_failed(peer)
        async with nodes.running(short_dir / "again", server__addr=address):
            async with asyncio.timeout(3):
                assert (await waiting).ping_timestamp == 1
            assert peer.failure is None


async def test_others_are_told_meanwhile(short_dir: Path) -> None:
    """On the channel on which one call waits another, that does not, fails at once with the cause."""
    requires.linux()
    async with away(short_dir) as (peer, address):
        stub = nodes.control(peer)
        waiting = stub.Ping(PingRequest(timestamp=1), wait_for_ready=True)
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.Ping(PingRequest(), timeout=5)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "nobody listens" in (raised.value.details() or "")
        assert isinstance(peer.failure, PortClosedError)
        assert not waiting.done()
        async with nodes.running(short_dir / "again", server__addr=address):
            await waiting


async def test_waiting_ends_with_the_deadline(short_dir: Path) -> None:
    """A call that waited in vain says what it waited for."""
    requires.linux()
    async with away(short_dir) as (peer, _address):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await nodes.control(peer).Ping(PingRequest(), wait_for_ready=True, timeout=0.5)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "nobody listens" in (raised.value.details() or "")


async def test_a_channel_is_ready_when_the_peer_is(short_dir: Path) -> None:
    """channel_ready() waits for the peer, not for what stands in for it here."""
    requires.linux()
    async with away(short_dir) as (peer, address):
        channel = peer.channel(tndrl.StreamType.CONTROL)
        ready = asyncio.ensure_future(channel.channel_ready())
        await nodes.until_failed(peer, 3)
        assert not ready.done()
        async with nodes.running(short_dir / "again", server__addr=address), asyncio.timeout(3):
            await ready


async def test_a_silent_connection_is_asked_before_a_call(short_dir: Path) -> None:
    """The first call after a long silence finds out that the peer has lost the connection, and does not fail."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        stub = nodes.control(peer)
        await nodes.ping(stub)
        session = nodes.session_of(peer)
        streams.deafen(session)
        session.heard_at = -3600.0
        await nodes.ping(stub)
        assert "nothing heard" in str(session.failure)
        assert node.stats()["handshakes_completed"] == 2


async def test_waiting_calls_try_less_and_less_often(short_dir: Path) -> None:
    """However many calls wait, they make one try at a time, with pauses between."""
    requires.linux()
    async with away(short_dir) as (peer, _address):
        stub = nodes.control(peer)
        calls = [stub.Ping(PingRequest(), wait_for_ready=True, timeout=1.5) for _ in range(50)]
        await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls])
        assert 1 <= peer._dialer.stats()["handshakes_failed"] <= 25


async def test_a_restart_with_callers_attached(short_dir: Path) -> None:
    """Callers are back within 3 s of a restart, and no call is made twice that may have been carried out (LIFE-06)."""
    requires.linux()
    workshop = Workshop()
    async with AsyncExitStack() as stack:
        async with serving(short_dir / "a", workshop) as node:
            address = node.address
            peers = [
                await stack.enter_async_context(nodes.calling(short_dir / name, name, address))
                for name in ("b", "c", "d", "e", "f")
            ]
            stubs = [stub_of(peer) for peer in peers]
            running = [stub.Make(Work(how="hold")) for stub in stubs]
            await workshop.begun.reach(len(peers))
            await node.stop(graceful=False)
        assert {await call.code() for call in running} == {grpc.StatusCode.UNAVAILABLE}
        waiting = [stub.Make(Work(material=b"x"), wait_for_ready=True) for stub in stubs]
        await asyncio.gather(*(nodes.until_failed(peer, 2) for peer in peers))
        async with serving(short_dir / "a", workshop, server__addr=address), asyncio.timeout(3):
            assert [(await call).material for call in waiting] == [b"x"] * len(peers)
        assert workshop.begun.count == 2 * len(peers)
        del stubs, running, waiting


async def test_a_peer_that_calls_is_called_at_once(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that waits for a peer, in a long pause, tries again when the peer connects to it."""
    requires.linux()
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 30.0)
    b = certs.node_leaf("b")
    async with nodes.running(short_dir / "a") as node, asyncio.timeout(20):
        async with nodes.running(short_dir / "b", b) as away:
            address = away.address
        known = [{"name": "b", "addr": address, "identity": "spiffe://tndrl/node/b"}]
        node.config = nodes.config(short_dir / "a", peers=known)
        waiting = asyncio.ensure_future(ping_when_ready(node))
        await streams.until(
            lambda: node.stats().get("dialer.handshakes_failed") == 1, lambda: asyncio.sleep(0.01)
        )
        async with (
            nodes.running(short_dir / "b", b, server__addr=address) as back,
            back.connect(node.address),
            asyncio.timeout(3),
        ):
            await waiting


async def ping_when_ready(node: tndrl.Node) -> None:
    """Call the peer "b" of a node, whenever it is there."""
    channel = node._dialer.channel(resolve_target("b", node.config), tndrl.StreamType.CONTROL)
    stub = ControlServiceStub(channel)
    await stub.Ping(PingRequest(), wait_for_ready=True)


@asynccontextmanager
async def serving(folder: Path, workshop: Workshop, **flags: object) -> AsyncIterator[tndrl.Node]:
    """Run a node with the workshop."""
    node = tndrl.Node(nodes.config(folder, **flags))
    node.add_service(TYPE, workshop.add_to)
    async with node:
        yield node
        await node.stop(graceful=False)


async def test_a_network_that_is_not_there(short_dir: Path) -> None:
    """A host without a route to its peer says so at once, and does not wait for an answer."""
    requires.linux()
    requires.namespaces()
    certs.write_pki_dir(short_dir, certs.node_leaf("b"))
    command = [processes.TNDRL, "ping", "10.1.2.3:4433", "--pki-dir", str(short_dir)]
    async with asyncio.timeout(5):  # half of the connect timeout
        ended = await processes.run("unshare", "-rn", *command)
    assert ended.code == 3
    assert ended.err.startswith("tndrl: no route leads to 10.1.2.3:4433 (Network is unreachable)")
