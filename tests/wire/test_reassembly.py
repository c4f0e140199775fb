"""QUIC-15: bytes with gaps between them cost the node what bytes may cost, measured in its own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rogue.frames import stream
from rogue.peer import Peer, RogueClient
from support import processes, streams, victim
from support.processes import NodeProcess
from support.victim import Meter
from tndrl.config import LimitsConfig
from tndrl.transport.codes import TransportCode

pytestmark = pytest.mark.serial

MIB = 1024 * 1024
LIMITS = LimitsConfig()
WINDOW = LIMITS.stream_window
UNKNOWN_TYPE = b"\x7f"

GROWTH = 20 * MIB
"""Bytes of memory that an attack may cost."""

PER_MIB = 1.0
"""Seconds of CPU for each MiB received."""


@pytest.fixture
async def node(short_dir: Path) -> AsyncIterator[NodeProcess]:
    """Yield a node in a process of its own, with a victim beside it."""
    async with (
        processes.serving(short_dir / "a", transport__typeTimeout=60) as node,
        victim.unharmed(node.address, short_dir / "victim"),
    ):
        yield node


@asynccontextmanager
async def deaf(node: NodeProcess) -> AsyncIterator[Peer]:
    """Yield a client that was let in and does not mind what happens to its streams."""
    async with RogueClient(node.address, replace(streams.honest("b"), deaf=True)) as rogue:
        assert await rogue.outcome() is None
        yield rogue


async def cost(rogue: Peer, node: NodeProcess, attack: Iterable[bytes]) -> tuple[int, float, int]:
    """Return the bytes that were sent, and the seconds of CPU and bytes of memory that they cost the node."""
    meter = Meter(node.pid)
    sent = await rogue.flood(attack)
    return sent, meter.cpu, meter.growth


async def test_sparse_offsets_cost_no_more_than_the_window(node: NodeProcess) -> None:
    """One byte at the end of as many windows as there are costs what the connection's window allows."""
    async with deaf(node) as rogue:
        attack = [stream(4 * number, WINDOW - 1, b"x") for number in range(15)]
        sent, _cpu, growth = await cost(rogue, node, attack)
        assert rogue.connection.closed is None
    assert sent < 424
    assert growth <= GROWTH


async def test_streams_that_the_node_gave_up_cost_nothing(node: NodeProcess) -> None:
    """A hundred streams reset for their unknown type, each with a byte far ahead, and never ended by their peer."""
    growth = 0.0
    async with deaf(node) as rogue:
        for number in range(100):
            far = stream(4 * number, WINDOW - 1, b"x")
            _sent, _cpu, more = await cost(rogue, node, [far + stream(4 * number, 0, UNKNOWN_TYPE)])
            growth += more
            assert rogue.connection.closed is None
    assert growth <= GROWTH


async def test_one_gap_too_many_ends_the_connection(node: NodeProcess) -> None:
    """Bytes with one-byte gaps between them are taken up to the limit of gaps."""
    async with deaf(node) as rogue:
        attack = (stream(0, 2 * number, b"x") for number in range(1, WINDOW // 2))
        _sent, cpu, growth = await cost(rogue, node, attack)
        assert rogue.connection.closed is not None
        assert rogue.connection.closed.code == TransportCode.FLOW_CONTROL_ERROR
    assert cpu <= 0.25
    assert growth <= GROWTH


@pytest.mark.parametrize("count", [0.25, pytest.param(4, marks=[pytest.mark.long, pytest.mark.timeout(120)])])
async def test_gaps_below_the_limit_cost_little(node: NodeProcess, count: float) -> None:
    """Bytes sent again and again behind as many gaps as there may be cost at most a second of CPU for each MiB."""
    async with deaf(node) as rogue:
        gaps = LIMITS.stream_gaps
        await rogue.flood(stream(0, 3 * number, b"x") for number in range(1, gaps))
        assert rogue.connection.closed is None
        again = stream(0, 3 * gaps - 3, b"x" * 40)
        sent, cpu, growth = await cost(rogue, node, (again for _ in range(int(count * MIB / len(again)))))
        assert rogue.connection.closed is None
    assert cpu <= PER_MIB * sent / MIB
    assert growth <= GROWTH
