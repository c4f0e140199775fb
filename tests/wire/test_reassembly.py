"""QUIC-15: bytes with gaps between them cost the node what bytes may cost, measured in its own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rogue.frames import stream
from rogue.peer import Peer, RogueClient
from support import processes, streams
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


@pytest.fixture
async def node(short_dir: Path) -> AsyncIterator[NodeProcess]:
    """Yield a node in a process of its own."""
    async with processes.serving(short_dir / "a", transport__typeTimeout=60) as node:
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
    async with deaf(node) as rogue:
        for number in range(100):
            far = stream(4 * number, WINDOW - 1, b"x")
            _sent, _cpu, growth = await cost(rogue, node, [far + stream(4 * number, 0, UNKNOWN_TYPE)])
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
