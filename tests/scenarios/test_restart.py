"""A node that was killed and is back: its peers learn so at once, and connect anew (QUIC-26)."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest

import tndrl
from support import nodes, processes
from support.link import Link, UdpLink

SOON = 3.0
"""Seconds until calls to a restarted node work again; by the idle timeout alone it would be 60."""

LONG = [pytest.mark.long, pytest.mark.timeout(180)]


async def works_again(peer: tndrl.Peer) -> tuple[float, list[str]]:
    """Return after how many seconds a Ping was answered, and what those before it said."""
    stub, began, failures = nodes.control(peer), time.monotonic(), []
    while True:
        try:
            await nodes.ping(stub)
        except grpc.aio.AioRpcError as error:
            failures.append(error.details() or "")
            assert time.monotonic() - began < SOON, failures
        else:
            return time.monotonic() - began, failures


@pytest.mark.serial
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=LONG)])
async def test_peers_of_a_killed_node_connect_anew(short_dir: Path, times: int) -> None:
    """Calls to a node that was killed and restarted work again in under 3 s, by its stateless reset alone."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(processes.serving(short_dir / "a", transport__idleTimeout=60))
        address = node.address
        async with (
            UdpLink(address, Link(1)) as link,  # which tells nobody that a port is closed
            nodes.calling(short_dir / "b0", "b0", link.address, transport__idleTimeout=60) as one,
            nodes.calling(short_dir / "b1", "b1", link.address, transport__idleTimeout=60) as two,
        ):
            peers = (one, two)
            for peer in peers:
                await nodes.ping(nodes.control(peer))
            for _ in range(times):
                node.signal(signal.SIGKILL)
                await node.ended()
                node = await stack.enter_async_context(
                    processes.serving(short_dir / "a", server__addr=address, transport__idleTimeout=60)
                )
                for took, failures in await asyncio.gather(*map(works_again, peers)):
                    assert took < SOON
                    assert all("stateless reset" in failure for failure in failures), failures


async def test_a_node_keeps_its_secret(short_dir: Path) -> None:
    """What a node makes in its state directory stays there, for its user only."""
    secrets = []
    for _ in range(2):
        async with nodes.running(short_dir / "a"):
            path = short_dir / "a" / "state" / "reset.key"
            secrets.append(path.read_bytes())
            assert path.stat().st_mode & 0o777 == 0o600
    assert secrets[0] == secrets[1]
