"""How much a node holds: idle connections, open streams, and streams one after another. What each costs is printed."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tndrl
from support import nodes, processes, streams
from support.cost import yardstick
from support.victim import Meter
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.http2 import PREFACE, SETTINGS
from tndrl.transport.identity import ServerPolicy
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.udp import client_udp

pytestmark = [pytest.mark.serial, pytest.mark.timeout(900)]

KIBIBYTE = 1024
ROOMY = {
    "limits__connections": 2000,
    "limits__connectionsPerIdentity": 2000,
    "limits__handshakesPerSecond": 100_000,
    "transport__requestTimeout": 600,
}
"""One identity plays a thousand peers here, from one address."""

YARDSTICKS = 2.3
"""How many of ``support.cost.yardstick`` a handshake may cost: 2.0 to 2.1 are measured."""

AT_ONCE = 16
"""Handshakes at once: fewer than begin to be asked for their address."""


def counts(ordinary: int, full: int) -> list[object]:
    """Return the ordinary count and the full one."""
    return [ordinary, pytest.param(full, marks=pytest.mark.long)]


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[processes.NodeProcess]:
    """Run a node that one identity may fill."""
    async with processes.serving(folder / "a", command=processes.SERVE, **ROOMY) as serving:
        yield serving


class Crowd:
    """Connections of one identity from one socket, each a peer of its own to the node."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.sessions: list[Session] = []
        self._address = (host, int(port))
        self._credentials = streams.credentials("b")
        self.endpoint = Endpoint(client_udp(socket.AF_INET), self._credentials, QuicSettings())

    async def grow(self, count: int) -> None:
        """Add connections, a few at once."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with turns:
                policy = ServerPolicy(self._credentials.bundle, self._address[0])
                session = self.endpoint.connect(
                    self._address, "a", verify_peer=policy.verify, server_name=None
                )
                self.sessions.append(session)
                await session.wait_confirmed()

        await asyncio.gather(*(one() for _ in range(count)))


@asynccontextmanager
async def crowd(address: str) -> AsyncIterator[Crowd]:
    """Open a socket for many connections; one is made at once, so that nothing is counted that only the first costs."""
    made = Crowd(address)
    try:
        await made.grow(1)
        yield made
    finally:
        made.endpoint.close()


@pytest.mark.parametrize("count", counts(100, 1000))
async def test_idle_connections(short_dir: Path, count: int) -> None:
    """A thousand idle connections cost at most 150 KiB each, and a handshake less than a 150th of a core's second.

    Where this machine is slow today, a handshake may cost what it would of that second elsewhere.
    """
    async with node(short_dir) as serving, crowd(serving.address) as peers:
        pace = yardstick()
        meter = Meter(serving.pid)
        await peers.grow(count)
        each, cpu = meter.growth / count / KIBIBYTE, meter.cpu
        print(f"{count} idle connections: {each:.0f} KiB each; {count / cpu:.0f} handshakes/s/core")
        assert each <= 150
        assert cpu / count <= max(1 / 150, YARDSTICKS * max(pace, yardstick()))
        await asyncio.gather(*(session.ping() for session in peers.sessions))


@pytest.mark.parametrize("count", counts(100, 1000))
async def test_open_streams(short_dir: Path, count: int) -> None:
    """A thousand streams of one connection are open at once, each with a channel that has been called."""
    async with node(short_dir) as serving, nodes.calling(short_dir / "b", "b", serving.address) as peer:
        first = nodes.control(peer)
        await nodes.ping(first)
        meter = Meter(serving.pid)
        stubs = [nodes.control(peer) for _ in range(count - 1)]
        for some in range(0, len(stubs), AT_ONCE):
            await asyncio.gather(*(nodes.ping(stub) for stub in stubs[some : some + AT_ONCE]))
        print(f"{count} open streams: {meter.growth / count / KIBIBYTE:.0f} KiB each")
        status = await nodes.status(peer)
        assert int(status.metadata["connections_open"]) == 1
        assert int(status.metadata["streams_open"]) >= count
        await nodes.ping(first)


async def open_and_end(session: Session) -> None:
    """Open a stream of Control, hear its server, and end it in good order."""
    stream = session.open_stream()
    await stream.send(bytes([tndrl.StreamType.CONTROL]) + PREFACE + SETTINGS)
    assert await stream.receive()
    await stream.send_eof()
    while await stream.receive():
        pass
    await stream.aclose()


@pytest.mark.parametrize("count", counts(3000, 100_000))
async def test_streams_one_after_another(short_dir: Path, count: int) -> None:
    """A hundred thousand streams, one after another, leave at most 5 MiB behind in the node."""
    async with node(short_dir) as serving, crowd(serving.address) as peers:
        (session,) = peers.sessions
        for _ in range(count // 10):
            await open_and_end(session)
        gc.collect()
        meter = Meter(serving.pid)
        for _ in range(count):
            await open_and_end(session)
        print(f"{count} streams one after another: {meter.growth / KIBIBYTE:.0f} KiB in all")
        assert meter.growth <= 5 * KIBIBYTE * KIBIBYTE
        assert session.streams == 0
