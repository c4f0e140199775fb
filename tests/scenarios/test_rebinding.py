"""Callers whose NAT changes its mind, and attackers who pretend that it has (RFC 9000 section 9.3)."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tndrl
from support import nodes, streams
from support.link import Direction, Link, UdpLink
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.transport._aioquic.connection import AuthenticatedConnection

ROUND_TRIP = 0.04
"""Seconds."""

CALLS = 40

MOST_PATHS = 8
"""Addresses of one peer that a node remembers."""


@asynccontextmanager
async def behind(
    folder: Path, make_link: Callable[[str], UdpLink]
) -> AsyncIterator[tuple[tndrl.Node, tndrl.Peer, UdpLink]]:
    """Yield a node with the workshop and a caller behind a link."""
    node = tndrl.Node(nodes.config(folder / "a"))
    node.add_service(TYPE, Workshop().add_to)
    async with node, make_link(node.address) as link:
        known = [{"name": "node", "addr": link.address, "identity": node.identity}]
        async with nodes.calling(folder / "b", "b", "node", peers=known) as peer:
            yield node, peer, link


def quic_of(node: tndrl.Node) -> AuthenticatedConnection:
    """Return the node's side of its one connection."""
    (session,) = node._listener.sessions
    return session._quic


def on_active_path(node: tndrl.Node, link: UdpLink) -> bool:
    """Return whether the node sends to where the caller is now, and knows that it is there."""
    (flow,) = link._flows.values()
    path = quic_of(node)._network_paths[0]
    return path.is_validated and path.addr[:2] == flow.back.getsockname()


async def test_more_paths_than_are_remembered(short_dir: Path) -> None:
    """A NAT that takes another port, then another address, a dozen times fails no call (QUIC-10)."""
    async with behind(short_dir, lambda address: UdpLink(address, Link(1))) as (node, peer, link):
        stub = nodes.control(peer)
        for _ in range(MOST_PATHS + 4):
            await nodes.ping(stub)
            link.rebind()
            await nodes.ping(stub)
            await streams.until(lambda: on_active_path(node, link), lambda: nodes.ping(stub))
        assert len(quic_of(node)._network_paths) <= MOST_PATHS
        assert node.stats()["handshakes_completed"] == 1


@pytest.mark.serial
@pytest.mark.parametrize("hosts", [[None], [None, "127.0.0.9"]], ids=["port", "address"])
async def test_a_rebinding_holds_no_call_up_for_long(short_dir: Path, hosts: list[str | None]) -> None:
    """Whenever in a call a NAT changes its mind, the call takes at most two round trips and 0.1 s longer."""
    dice, loop = random.Random(1), asyncio.get_running_loop()
    link_of = Link(1, delay=ROUND_TRIP / 2)
    async with behind(short_dir, lambda address: UdpLink(address, link_of)) as (node, peer, link):
        stub, took = nodes.control(peer), []
        for number in range(CALLS + 5):
            if number >= 5:  # by then the round trip is known
                loop.call_later(dice.uniform(0, ROUND_TRIP), link.rebind, hosts[number % len(hosts)])
            began = time.perf_counter()
            await nodes.ping(stub)
            took.append(time.perf_counter() - began)
        print(
            f"calls beside a rebinding: worst {max(took):.3f} s, median {sorted(took)[len(took) // 2]:.3f} s"
        )
        assert max(took[5:]) < 3 * ROUND_TRIP + 0.1
        assert node.stats()["handshakes_completed"] == 1


@pytest.mark.serial
async def test_a_rebinding_while_a_handler_works(short_dir: Path) -> None:
    """A caller whose request was acknowledged, and who has nothing to say, soon hears the answer all the same."""
    work, loop, took = 0.06, asyncio.get_running_loop(), []
    async with behind(short_dir, lambda address: UdpLink(address, Link(1, delay=ROUND_TRIP / 2))) as (
        _,
        peer,
        link,
    ):
        stub = stub_of(peer)
        for number in range(CALLS):
            if number >= 5:  # by then the round trip is known
                loop.call_later(work + ROUND_TRIP / 2, link.rebind)
            began = time.perf_counter()
            await stub.Make(Work(seconds=work))
            took.append(time.perf_counter() - began)
    assert max(took[5:]) < work + 3 * ROUND_TRIP + 0.1


@pytest.mark.parametrize("seen", [1, 2, 3, 5, 8])
async def test_rebinding_during_the_handshake(short_dir: Path, seen: int) -> None:
    """A NAT that changes its mind in the middle of the handshake costs nothing but time (QUIC-10)."""
    node = tndrl.Node(nodes.config(short_dir / "a"))
    async with node, UdpLink(node.address, Link(1, delay=0.02), logging=True) as link, asyncio.timeout(20):

        async def rebind() -> None:
            await link.logged(seen)
            link.rebind("127.0.0.9")

        rebinding = asyncio.ensure_future(rebind())
        known = [{"name": "node", "addr": link.address, "identity": node.identity}]
        async with nodes.calling(short_dir / "b", "b", "node", peers=known) as peer:
            await nodes.ping(nodes.control(peer))
            await rebinding
            await streams.until(lambda: on_active_path(node, link), lambda: nodes.ping(nodes.control(peer)))
            assert node.stats()["handshakes_completed"] == 1


class SpoofingLink(UdpLink):
    """A link that, told to, delivers the caller's next datagram from an address where nobody answers."""

    def __init__(self, target: str, link: Link) -> None:
        super().__init__(target, link)
        self.stolen = asyncio.get_running_loop().create_future()
        self.victim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.victim.bind(("127.0.0.77", 0))
        self.victim.setblocking(False)
        self.deaf = False
        self._spoof = False

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self.victim.close()

    def spoof(self) -> None:
        """Deliver the next datagram so, and nothing that the caller sends after it."""
        self._spoof = True

    def _pass(self, data: bytes, direction: Direction, deliver: Callable[[bytes], object]) -> None:
        if direction is Direction.TO_NODE and self._spoof:
            self._spoof, self.deaf = False, True
            self.victim.sendto(data, self._target)
            self.stolen.set_result(len(data))
        elif direction is Direction.TO_CLIENT or not self.deaf:
            super()._pass(data, direction, deliver)

    def received(self) -> int:
        """Return how many bytes the victim was sent."""
        total = 0
        while True:
            try:
                total += len(self.victim.recv(65535))
            except BlockingIOError:
                return total


async def test_a_spoofed_migration_is_undone(short_dir: Path) -> None:
    """After a datagram from an address where nobody answers the node goes back to the one it had validated (QUIC-11).

    The victim gets at most three times what came in its name; the answer reaches the caller, who is silent meanwhile.
    """
    async with behind(short_dir, lambda address: SpoofingLink(address, Link(1))) as (node, peer, link):
        stub = stub_of(peer)
        await stub.Make(Work())
        session = nodes.session_of(peer)
        call = stub.MakeMany(Work(material=bytes(100_000), pieces=2, seconds=0.2))
        await call.initial_metadata()
        link.spoof()
        session._quic.send_ping(0)
        session.flush()
        size = await link.stolen
        await streams.until(
            lambda: quic_of(node)._network_paths[0].addr[0] == "127.0.0.77", lambda: asyncio.sleep(0.001)
        )
        await streams.until(
            lambda: quic_of(node)._network_paths[0].addr[0] != "127.0.0.77", lambda: asyncio.sleep(0.01)
        )
        link.deaf = False
        async with asyncio.timeout(5):
            assert [len(piece.material) async for piece in call] == [100_000] * 2
        assert on_active_path(node, link)
        assert 0 < link.received() <= 3 * size
        assert node.stats()["handshakes_completed"] == 1
