"""Ping beside bulk on a slow line: what is urgent goes first, in both directions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tndrl
from support import nodes, processes, slow_line
from support.victim import percentile
from support.virtual import Bulk
from support.workshop import TYPE, Work, workshop_pb2_grpc

Run = Callable[[workshop_pb2_grpc.WorkshopStub], Awaitable[None]]

BULK_STREAMS = 60
PIECE = bytes(32 * 1024)
BOUND = 0.025
"""Seconds: the queue of the line alone holds 16 ms."""

WORSE = 3
"""Times as long that a Ping takes where all streams are equal."""

ROOM = 1.5
"""Times as much, or as little, where two cores run a node, the line, and a caller with 60 answers to take."""


async def download(stub: workshop_pb2_grpc.WorkshopStub) -> None:
    """Be sent pieces without end."""
    async for _piece in stub.MakeMany(Work(material=PIECE, pieces=1_000_000)):
        pass


async def upload(stub: workshop_pb2_grpc.WorkshopStub) -> None:
    """Send pieces without end."""

    async def pieces() -> AsyncIterator[Work]:
        while True:
            yield Work(material=PIECE)

    await stub.Exchange(pieces())


@asynccontextmanager
async def bulk(peer: tndrl.Peer, run: Run, priority: tndrl.Priority) -> AsyncIterator[None]:
    """Keep many streams full."""
    stubs = [
        workshop_pb2_grpc.WorkshopStub(peer.channel(TYPE, priority=priority)) for _ in range(BULK_STREAMS)
    ]
    running = [asyncio.ensure_future(run(stub)) for stub in stubs]
    try:
        await asyncio.sleep(4)  # for congestion control to fill the queue: there is no event for that
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def pings(peer: tndrl.Peer, count: int, share: float) -> float:
    """Return a percentile of the seconds that so many Pings take, one after another."""
    stub, took = nodes.control(peer), []
    for _ in range(count):
        began = time.perf_counter()
        await nodes.ping(stub)
        took.append(time.perf_counter() - began)
    return percentile(took, share)


async def compared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run, share: float
) -> tuple[float, float]:
    """Return a percentile of Pings beside bulk that yields to them, and beside bulk that is their equal."""
    took = []
    for priority, count in ((tndrl.Priority.MEDIUM, 200), (tndrl.Priority.CRITICAL, 40)):
        monkeypatch.setenv("WORKSHOP_PRIORITY", priority.name)
        place = folder / priority.name
        place.mkdir()
        async with (
            processes.serving(place) as node,
            slow_line.before(node.address) as address,
            nodes.calling(place / "b", "b", address) as peer,
        ):
            await nodes.ping(nodes.control(peer))
            async with bulk(peer, run, priority):
                took.append(await pings(peer, count, share))
            print(f"{priority.name}: {took[-1] * 1000:.1f} ms")
    return took[0], took[1]


@pytest.mark.parametrize("upload", [False, True], ids=["answers", "requests"])
def test_pings_beside_bulk(upload: bool) -> None:
    """Beside 60 streams a Ping takes less than 25 ms, and three times as long where all are equal: in virtual time."""
    took = []
    for priority, count in ((tndrl.Priority.MEDIUM, 200), (tndrl.Priority.CRITICAL, 40)):
        line = Bulk(slow_line.slow_line(), streams=BULK_STREAMS, upload=upload, priority=priority)
        line.wait(2.0)
        took.append(percentile([line.ping() for _ in range(count)]))
    assert took[0] < BOUND
    assert took[1] > WORSE * took[0]


@pytest.mark.serial
async def test_ping_beside_answers(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with sockets, processes and gRPC, whose own time comes to that of the line."""
    took, equal = await compared(short_dir, monkeypatch, download, 0.99)
    assert took < ROOM * BOUND
    assert equal > WORSE / ROOM * took


@pytest.mark.serial
@pytest.mark.long
async def test_ping_beside_requests(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside 60 streams of requests too, which a caller has more work with than a node with answers."""
    took, equal = await compared(short_dir, monkeypatch, upload, 0.99)
    assert equal > WORSE / ROOM * took
