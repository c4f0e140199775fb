"""QUIC-23 and QUIC-14: floods of a peer that was let in, beside a victim with an identity of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rogue import frames
from rogue.frames import frame
from rogue.peer import Peer, RogueClient
from support import processes, streams, victim
from support.processes import NodeProcess
from support.victim import Meter
from tndrl.transport.codes import TransportCode

pytestmark = pytest.mark.serial

P99 = 0.050
BATCH = 64
"""Datagrams that the rogue throws before it lets others run."""

PING = frame(frames.PING)

MIB = 1024 * 1024
CUT_OFF = 0.15
"""Seconds of CPU until a flood of frames is cut off."""


@pytest.fixture
async def node(short_dir: Path) -> AsyncIterator[NodeProcess]:
    """Yield a node in a process of its own."""
    async with processes.serving(short_dir / "a") as node:
        yield node


def tiny(rogue: Peer) -> bytes:
    """Return a packet with one byte of a stream."""
    return rogue.connection.packet(frames.stream(0, 1, b"x"))


def ping(rogue: Peer) -> bytes:
    """Return a packet with one PING."""
    return rogue.connection.packet(PING)


def ack_only(rogue: Peer) -> bytes:
    """Return a packet that acknowledges what has been acknowledged before."""
    number = rogue.connection.largest_received
    return rogue.connection.packet(frames.ack([range(number, number + 1)]))


def max_data(rogue: Peer) -> bytes:
    """Return a packet with a limit that raises nothing."""
    return rogue.connection.packet(frame(frames.MAX_DATA, 1))


def undecryptable(rogue: Peer) -> bytes:
    """Return a packet whose tag is wrong."""
    packet = rogue.connection.packet(PING)
    return packet[:-1] + bytes([packet[-1] ^ 1])


LONG = [pytest.mark.long, pytest.mark.timeout(120)]

FLOODS = [
    pytest.param(tiny, 1.5, id="tiny"),
    pytest.param(undecryptable, 1.5, id="undecryptable"),
    pytest.param(ping, 0.5, id="ping"),
    pytest.param(max_data, 0.5, id="max_data"),
    pytest.param(ack_only, 0.5, id="ack_only"),
    *(
        pytest.param(make, 30.0, id=f"{make.__name__}_long", marks=LONG)
        for make in (tiny, ping, ack_only, max_data, undecryptable)
    ),
]
"""What is sent, and for how many seconds."""


@pytest.mark.parametrize(("make", "seconds"), FLOODS)
async def test_a_flood_of_packets_harms_nobody_else(
    node: NodeProcess, short_dir: Path, make: Callable[[Peer], bytes], seconds: float
) -> None:
    """Small packets as fast as the rogue can send them: the victim's calls go on within 50 ms."""
    async with (
        victim.beside(node.address, short_dir / "victim", baseline=1.0) as beside,
        RogueClient(node.address, replace(streams.honest("b"), deaf=True)) as rogue,
    ):
        assert await rogue.outcome() is None
        async with beside.attack():
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for _ in range(BATCH):
                    rogue.throw(make(rogue))
                await asyncio.sleep(0)
    beside.assert_unharmed(p99=P99)


DENSE = {
    "ping": PING,
    "max_data": frame(frames.MAX_DATA, 1),
    "stream": frames.stream(0, 5, b"x"),
}
"""Frames that bring nothing, packed as densely as possible."""


@pytest.mark.parametrize("name", DENSE)
async def test_a_flood_of_frames_is_cut_off(node: NodeProcess, short_dir: Path, name: str) -> None:
    """A megabyte of them is closed with PROTOCOL_VIOLATION before it has cost much, and the victim notices nothing."""
    async with (
        victim.unharmed(node.address, short_dir / "victim", p99=P99),
        RogueClient(node.address, streams.honest("b")) as rogue,
    ):
        assert await rogue.outcome() is None
        meter = Meter(node.pid)
        sent = await rogue.flood(DENSE[name] for _ in range(MIB // len(DENSE[name])))
        assert rogue.connection.closed is not None
        assert rogue.connection.closed.code == TransportCode.PROTOCOL_VIOLATION
        assert sent < MIB
        assert meter.cpu <= CUT_OFF  # before the rest of what the victim counts
