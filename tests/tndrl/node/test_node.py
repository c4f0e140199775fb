"""A node in its own process: what it may be asked, how it starts and how it ends. Scenarios are elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import grpc.aio
import pytest

import tndrl
from support import certs, nodes
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.control.state import NodeState
from tndrl.errors import ConfigError, UsageError


@pytest.fixture
def node(short_dir: Path) -> tndrl.Node:
    """Return a node that has not been started."""
    return tndrl.Node(nodes.config(short_dir / "a"))


def nothing(_server: grpc.aio.Server) -> None:
    """Add no servicer."""


class TestAddService:
    """What add_service takes."""

    @pytest.mark.parametrize("stream_type", [0x10, 0xEF])
    def test_users_types(self, node: tndrl.Node, stream_type: int) -> None:
        """The first and the last type for users are free."""
        node.add_service(stream_type, nothing)

    @pytest.mark.parametrize("stream_type", [-1, 0x00, 0x01, 0x02, 0x03, 0x0F, 0xF0, 0xFF, 0x100])
    def test_other_types(self, node: tndrl.Node, stream_type: int) -> None:
        """Every other is refused, with the range."""
        with pytest.raises(UsageError, match="take one from 0x10 to 0xef"):
            node.add_service(stream_type, nothing)

    def test_a_type_twice(self, node: tndrl.Node) -> None:
        """One type has one service."""
        node.add_service(TYPE, nothing)
        with pytest.raises(UsageError, match="stream type 0x10 has a service already"):
            node.add_service(TYPE, nothing)

    async def test_once_started(self, node: tndrl.Node) -> None:
        """A running node takes no more."""
        async with node:
            with pytest.raises(UsageError, match="before the node is started"):
                node.add_service(TYPE, nothing)

    async def test_message_limit(self, node: tndrl.Node, short_dir: Path) -> None:
        """A service may have a message limit of its own."""
        node.add_service(TYPE, Workshop().add_to, max_message=1000)
        async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
            stub = stub_of(peer)
            assert await stub.Make(Work(material=bytes(900)))
            with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
                await stub.Make(Work(material=bytes(1100)))
            del stub

    async def test_several(self, node: tndrl.Node, short_dir: Path) -> None:
        """Services of different types run side by side, each on a thread of its own."""
        threads = set()
        for stream_type in (0x10, 0x11, 0xEF):
            node.add_service(stream_type, lambda _server: threads.add(threading.current_thread().name))
        async with node:
            assert threads == {"tndrl 0x10", "tndrl 0x11", "tndrl 0xef"}


class TestBeforeAndAfter:
    """A node that does not run."""

    def test_knows_nothing(self, node: tndrl.Node) -> None:
        """Before the start there is no identity and no address, but a state and counters."""
        for name in ("identity", "address"):
            with pytest.raises(UsageError):
                getattr(node, name)
        assert (node.state, node.active_tasks, node.stats()["calls_total"]) == (NodeState.STARTING, 0, 0)
        assert repr(node) == "<Node no identity yet, STARTING, 0 tasks>"

    async def test_connects_to_nobody(self, node: tndrl.Node) -> None:
        """Its connections are there while it runs."""
        with pytest.raises(UsageError, match="not running"):
            async with node.connect("127.0.0.1:4433"):
                pass

    async def test_after_the_end(self, node: tndrl.Node) -> None:
        """A node that has stopped keeps its identity and has no address."""
        async with node:
            assert repr(node) == "<Node spiffe://tndrl/node/a, READY, 0 tasks>"
            assert node.address.startswith("127.0.0.1:")
        assert node.identity == "spiffe://tndrl/node/a"
        with pytest.raises(UsageError, match="not running"):
            node.address  # noqa: B018


class TestStart:
    """A start that fails leaves nothing behind, and says what was wrong."""

    async def test_no_certificate(self, node: tndrl.Node) -> None:
        """Without its certificate a node does not start."""
        os.unlink(node.config.pki.paths().cert)  # noqa: PTH108 - nothing waits here
        with pytest.raises(ConfigError, match=r"tndrl\.crt"):
            await node.serve()
        assert node.state is NodeState.STOPPED

    async def test_address_in_use(self, node: tndrl.Node, short_dir: Path) -> None:
        """Two nodes cannot have one address."""
        async with node:
            other = tndrl.Node(nodes.config(short_dir / "b", certs.node_leaf("b"), server__addr=node.address))
            with pytest.raises(ConfigError, match="in use"):
                await other.serve()
            assert other.state is NodeState.STOPPED

    async def test_state_directory_in_use(self, node: tndrl.Node, short_dir: Path) -> None:
        """Two nodes cannot have one state directory."""
        state = str(short_dir / "a" / "state")
        other = tndrl.Node(nodes.config(short_dir / "b", certs.node_leaf("b"), stateDir=state))
        async with node:
            with pytest.raises(ConfigError, match="in use by another node") as raised:
                await other.serve()
        assert raised.value.key == "stateDir"
        assert state in str(raised.value)

    async def test_a_service_that_cannot_be_added(self, short_dir: Path) -> None:
        """What a registration raises comes out of the start."""
        node = tndrl.Node(
            nodes.config(short_dir)
        )  # a fixture's would live on, and its error's frames with it

        def broken(_server: grpc.aio.Server) -> None:
            raise LookupError("no such servicer")

        node.add_service(TYPE, nothing)
        node.add_service(0x11, broken)
        with pytest.raises(LookupError, match="no such servicer"):
            await node.serve()
        assert node.state is NodeState.STOPPED

    async def test_an_error_inside(self, node: tndrl.Node) -> None:
        """An error in the block stops the node at once and comes out."""
        with pytest.raises(LookupError):
            async with node:
                raise LookupError
        assert node.state is NodeState.STOPPED


class TestEnd:
    """However a node ends, it is gone."""

    async def test_cancelled_serve(self, node: tndrl.Node, short_dir: Path) -> None:
        """Cancelling serve() stops the node, running calls included."""
        workshop = Workshop()
        node.add_service(TYPE, workshop.add_to)
        serving = asyncio.create_task(node.serve())
        while node.state is NodeState.STARTING:  # noqa: ASYNC110 - serve() tells of it in no other way
            await asyncio.sleep(0)
        async with nodes.calling(short_dir / "b", "b", node.address) as peer:
            _call = stub_of(peer).Make(Work(how="hold"))
            await workshop.begun.reach()
            serving.cancel()
            await asyncio.wait({serving}, timeout=2)
        assert serving.cancelled()
        assert node.state is NodeState.STOPPED
        assert workshop.cancelled.count == 1

    async def test_stop_is_safe_to_cancel(self, node: tndrl.Node) -> None:
        """Who stops waiting for the end does not prevent it."""
        async with node:
            stopping = asyncio.create_task(node.stop())
            await asyncio.sleep(0)
            stopping.cancel()
            assert await node.wait_stopped()

    async def test_stop_before_the_start(self, node: tndrl.Node) -> None:
        """A node that was told to stop before it was started stops as soon as it is."""
        assert node.request_shutdown(graceful=True, timeout=None, reason="changed our mind") is None
        async with asyncio.timeout(5):
            assert await node.serve()

    @pytest.mark.parametrize(
        ("first", "second", "accepted"),
        [(True, True, False), (True, False, True), (False, True, False), (False, False, False)],
    )
    def test_second_request(self, node: tndrl.Node, first: bool, second: bool, accepted: bool) -> None:
        """A second request counts only if it takes the grace away; another learns the first one's reason."""
        assert node.request_shutdown(graceful=first, timeout=None, reason="the first") is None
        refusal = node.request_shutdown(graceful=second, timeout=None, reason="the second")
        assert refusal == (None if accepted else "the node is stopping already: the first")

    async def test_ten_times(self, short_dir: Path) -> None:
        """Ten nodes one after the other in one process leave nothing behind."""
        for _ in range(10):
            node = tndrl.Node(nodes.config(short_dir / "a"))
            node.add_service(TYPE, Workshop().add_to)
            async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
                assert (await stub_of(peer).Make(Work(material=b"oak"))).material == b"oak"

    async def test_started_twice(self, node: tndrl.Node) -> None:
        """A node lives once."""
        async with node:
            pass
        with pytest.raises(UsageError):
            await node.serve()


async def test_threads_switch_often(node: tndrl.Node) -> None:
    """A running node keeps Python's threads from waiting long for each other."""
    before = sys.getswitchinterval()
    async with node:
        assert sys.getswitchinterval() <= 0.0005
    sys.setswitchinterval(before)


async def test_stats(node: tndrl.Node, short_dir: Path) -> None:
    """Counters of calls, connections and streams are numbers, and GetStatus carries them as text."""
    node.add_service(TYPE, Workshop().add_to)
    async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        await stub_of(peer).Make(Work())
        metadata = (await nodes.status(peer)).metadata
        stats = node.stats()
    assert all(type(value) is int for value in stats.values())
    assert (stats["calls_total"], stats["control_calls_total"], stats["connections_open"]) == (1, 1, 1)
    assert (metadata["calls_total"], metadata["dialer.connections_open"]) == ("1", "0")
