"""Connections are shared while they live, and replaced when they are dead."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from scenarios.conftest import Scene
from support import certs, nodes, processes
from support.processes import SERVE
from support.workshop import Work
from tndrl.v1 import control_pb2, control_pb2_grpc


async def test_two_channels_share_a_connection(scene: Scene) -> None:
    """Channels to one peer, of one stream type or several, are streams of one QUIC connection."""
    first, second = scene.stub(), scene.stub()
    await asyncio.gather(first.Make(Work()), second.Make(Work()), nodes.ping(nodes.control(scene.peer)))
    stats = scene.node.stats()
    assert (stats["connections_open"], stats["handshakes_completed"]) == (1, 1)
    assert (stats["streams_open"], stats["streams_bridged"]) == (3, 3)


async def test_concurrent_first_calls_share_a_handshake(short_dir: Path) -> None:
    """Twenty calls at once of a node that has no connection yet make one handshake."""
    async with (
        nodes.running(short_dir / "a") as callee,
        nodes.running(short_dir / "b", certs.node_leaf("b")) as caller,
    ):

        async def call() -> None:
            async with caller.connect(callee.address) as peer:
                await nodes.ping(nodes.control(peer))

        await asyncio.gather(*(call() for _ in range(20)))
        assert callee.stats()["handshakes_completed"] == 1
        assert caller.stats()["dialer.connections_open"] == 1


async def test_a_name_and_an_address_do_not_share(short_dir: Path) -> None:
    """A connection verified by host name is not used where an identity is expected."""
    async with nodes.running(short_dir / "a") as callee:
        known = [{"name": "a", "addr": callee.address, "identity": callee.identity}]
        async with (
            nodes.running(short_dir / "b", certs.node_leaf("b"), peers=known) as caller,
            caller.connect("a"),
            caller.connect(callee.address),
        ):
            assert caller.stats()["dialer.connections_open"] == 2


async def code_of(stub: control_pb2_grpc.ControlServiceStub) -> grpc.StatusCode:
    """Return how a Ping ends."""
    return await stub.Ping(control_pb2.PingRequest(), timeout=5).code()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restarted_peer_is_found_again(short_dir: Path, end: signal.Signals) -> None:
    """When a peer is back on its port after a stop or a crash, the next call of the same channel succeeds."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(processes.serving(short_dir / "a", command=SERVE))
        peer = await stack.enter_async_context(nodes.calling(short_dir / "b", "b", first.address))
        stub = nodes.control(peer)
        await nodes.ping(stub)
        first.signal(end)
        await first.ended()
        again = processes.serving(short_dir / "a", command=SERVE, server__addr=first.address)
        await stack.enter_async_context(again)
        async with asyncio.timeout(5):
            while (code := await code_of(stub)) is not grpc.StatusCode.OK:
                assert code is grpc.StatusCode.UNAVAILABLE
        assert peer.failure is None
        del stub


async def test_a_connection_that_ended_in_order_is_replaced(short_dir: Path) -> None:
    """After a peer has shut down and come back, the very next call works: nothing has to fail first."""
    async with nodes.running(short_dir / "a") as first:
        address = first.address
        async with nodes.calling(short_dir / "b", "b", address) as peer:
            await nodes.ping(nodes.control(peer))
            session = nodes.session_of(peer)
            await first.stop()
            await session.wait_closed()
            async with nodes.running(short_dir / "a", server__addr=address) as second:
                await nodes.ping(nodes.control(peer))
                assert second.stats()["handshakes_completed"] == 1
