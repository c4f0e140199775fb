"""QUIC-09 and the link faults: transfers and calls over bad networks complete, byte by byte, and none hangs.

Each fault runs in virtual time over several seeds, and once on real sockets, against a node and through gRPC.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tndrl
from support import nodes
from support.link import Direction, Link, UdpLink
from support.virtual import Transfer
from support.workshop import TYPE, Work, Workshop, stub_of

MEGABYTE = 1_000_000
PIECE = 60_000
"""Bytes of a message on real sockets."""

HOME = {"delay": 0.015, "rate": 10e6, "queue": 64, "mtu": 1472}
"""What a line does that has no fault: 30 ms there and back, 10 Mbit/s, a queue of 64 datagrams, Ethernet's size."""


PATIENT = {
    f"transport__{name}": 60
    for name in ("connectTimeout", "handshakeTimeout", "typeTimeout", "requestTimeout")
}
"""Seconds, of both sides, for each step in which somebody waits for the other."""


@dataclass(frozen=True)
class Fault:
    """A link, and what goes over it: all of it in the long run."""

    link: dict[str, object]
    size: int
    """Bytes; at most ``BRIEF`` of them in the ordinary run."""
    limit: float
    """Virtual seconds."""
    brief: dict[str, object] = field(default_factory=dict)
    """What differs in the ordinary run, so that fewer bytes meet the same fault."""
    real: dict[str, object] = field(default_factory=dict)
    """What differs on real sockets besides, where time is our own."""
    real_size: int = MEGABYTE // 4
    counted: str | None = None
    """What the link counts of it."""
    least: float = 0.0
    """Virtual seconds that a transfer takes at least."""


BRIEF = 2 * MEGABYTE

FAULTS = {
    "2 % loss": Fault(HOME | {"loss": 0.02}, 2 * MEGABYTE, 60.0, counted="lost"),
    "30 % loss in bursts of 3": Fault(
        HOME | {"loss": 0.3, "burst": 3}, MEGABYTE // 2, 600.0, real_size=MEGABYTE // 100, counted="lost"
    ),
    "dark 2 s of 5": Fault(
        HOME | {"blackout": (5.0, 2.0)},
        10 * MEGABYTE,
        120.0,
        {"rate": 2e6},
        {"blackout": (1.0, 0.4)},
        counted="dark",
    ),
    "rebinding every 5 s": Fault(
        HOME | {"rebind": 5.0}, 10 * MEGABYTE, 120.0, {"rate": 2e6}, {"rebind": 0.5}, counted="rebound"
    ),
    "750 ms": Fault({"delay": 0.75}, 2 * MEGABYTE, 120.0, real_size=1000, least=4 * 0.75),
    "reordering": Fault(HOME | {"reorder": 0.3}, 2 * MEGABYTE, 120.0, counted="held"),
    "everything twice": Fault(HOME | {"duplicate": 1.0}, 2 * MEGABYTE, 60.0, counted="copied"),
    "30 % corruption": Fault(
        HOME | {"corrupt": 0.3}, MEGABYTE // 2, 600.0, real_size=MEGABYTE // 100, counted="corrupted"
    ),
}

LONG = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=LONG)], ids=["brief", "full"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_transfer_completes(name: str, full: bool) -> None:
    """Every byte arrives in its place, up with even seeds and down with odd ones; 20 of them in the full run."""
    fault = FAULTS[name]
    link, size = (fault.link, fault.size) if full else (fault.link | fault.brief, min(fault.size, BRIEF))
    for seed in range(20 if full else 2):
        transfer = Transfer(Link(seed, **link), size=size, upload=seed % 2 == 0)
        assert transfer.run(limit=fault.limit) > fault.least
        counts = transfer.link.lines[Direction.TO_NODE].counts | {"rebound": transfer.rebindings}
        assert fault.counted is None or counts[fault.counted] > 0


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_handshakes_over_a_third_of_loss(count: int) -> None:
    """At 30 % loss in bursts of 3, 50 of 50 handshakes are confirmed within 60 s."""
    for seed in range(count):
        Transfer(Link(seed, **HOME, loss=0.3, burst=3), size=1, upload=True).handshake(limit=60.0)


@pytest.mark.parametrize("late", [0.01, 0.025, 0.05, 0.07])
def test_rebinding_during_the_handshake(late: float) -> None:
    """A NAT that changes its mind once, at whatever moment, keeps no client out."""
    transfer = Transfer(Link(1, delay=0.02, rebind=late, rebindings=1), size=1, upload=True)
    assert transfer.handshake(limit=5.0) > late


async def exchange(peer: tndrl.Peer, size: int) -> None:
    """Send random bytes to the workshop, in messages of one call, and check what comes back."""
    material = random.Random(size).randbytes(size)
    pieces = [material[start : start + PIECE] for start in range(0, size, PIECE)]
    call = stub_of(peer).Exchange(Work(material=piece) for piece in pieces)
    assert [bytes(piece.material) async for piece in call] == pieces


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=LONG)], ids=["brief", "full"])
@pytest.mark.parametrize("name", FAULTS)
async def test_a_call_completes(short_dir: Path, name: str, full: bool) -> None:
    """A call that streams both ways through a real node answers with the very bytes it got."""
    fault = FAULTS[name]
    faults = fault.link if full else fault.link | fault.brief | fault.real
    node = tndrl.Node(nodes.config(short_dir / "a", **PATIENT))
    node.add_service(TYPE, Workshop().add_to)
    async with node, UdpLink(node.address, Link(2, **faults)) as link:
        async with nodes.calling(short_dir / "b", "b", link.address, **PATIENT) as peer:
            await exchange(peer, fault.size if full else fault.real_size)
        assert node.stats()["handshakes_completed"] == 1
        assert (
            full or not fault.real or link.rebindings > 1 or link.link.lines[Direction.TO_NODE].counts["dark"]
        )
        await node.stop(graceful=False)


async def test_clients_share_a_bad_link(short_dir: Path) -> None:
    """Ten clients at once behind one NAT, which loses and rebinds, each get their own answers."""
    node = tndrl.Node(nodes.config(short_dir / "a", **PATIENT))
    node.add_service(TYPE, Workshop().add_to)

    async def call(link: UdpLink, index: int) -> None:
        async with nodes.calling(short_dir / f"c{index}", f"c{index}", link.address, **PATIENT) as peer:
            await exchange(peer, 10_000 + index)

    async with node, UdpLink(node.address, Link(3, **HOME, loss=0.05, rebind=1.0)) as link:
        await asyncio.gather(*(call(link, index) for index in range(10)))
        await node.stop(graceful=False)
