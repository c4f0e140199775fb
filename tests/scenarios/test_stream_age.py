"""Streams that are ended for their age, and callers that ping too often (H2-18, gRFC A8 and A9)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import tndrl
from rogue.peer import Peer
from support import nodes, streams, workshop
from support.streams import RawClient, frame
from tndrl.transport import http2

GOAWAY, PING = 0x07, 0x06
NO_ERROR, ENHANCE_YOUR_CALM = 0x00, 0x0B
PINGS = 10


def goaways(peer: Peer) -> list[tuple[int, bytes]]:
    """Return code and text of each GOAWAY on stream 0."""
    return [
        (int.from_bytes(body[4:8], "big"), body[8:])
        for kind, _stream, body in streams.answers(peer.received[0])
        if kind == GOAWAY
    ]


async def test_an_old_stream(short_dir: Path) -> None:
    """The peer of a stream that becomes too old is told so in good order."""
    limits = {"streamAge": 0.5}
    async with nodes.running(short_dir, limits=limits) as node, RawClient(node.address) as peer:
        peer.send(0, b"\x01" + http2.PREFACE + http2.SETTINGS + frame(4, 1, 0, b""))
        await peer.until(lambda: (NO_ERROR, b"max_age") in goaways(peer))


async def test_calls_outlive_their_stream(short_dir: Path) -> None:
    """A call that runs while its stream becomes too old goes on, and the next ones go to another stream."""
    made = workshop.Workshop()
    node = tndrl.Node(nodes.config(short_dir / "a", limits={"streamAge": 0.5}))
    node.add_service(workshop.TYPE, made.add_to)
    async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        stub = workshop.stub_of(peer)
        long = stub.Make(workshop.Work(seconds=2), timeout=10)
        called = 0
        while not long.done():
            await stub.Make(workshop.Work(), timeout=10)
            called += 1
            await asyncio.sleep(0.01)
        await long
        assert called > 10
        assert node.stats()["streams_bridged"] > 2


async def test_an_idle_stream(short_dir: Path) -> None:
    """A stream without a call for too long ends, and the next call opens another."""
    async with (
        nodes.running(short_dir / "a", limits={"streamIdle": 0.3}) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        control = nodes.control(peer)
        await nodes.ping(control)
        await streams.until(lambda: node.stats()["streams_open"] == 0, lambda: asyncio.sleep(0.01))
        await nodes.ping(control)


async def test_too_many_pings(short_dir: Path) -> None:
    """A caller that pings without calling is told to be calm, and loses its stream alone."""
    async with nodes.running(short_dir) as node, RawClient(node.address) as peer:
        opening = b"\x01" + streams.request("Ping", service="tndrl.v1.ControlService")
        peer.send(0, opening + streams.message(end=True) + frame(4, 1, 0, b""))
        await peer.until(lambda: 1 in streams.outcomes(peer.received[0]))
        for number in range(PINGS):
            peer.send(0, frame(PING, 0, 0, number.to_bytes(8, "big")))
        await peer.until(lambda: 0 in peer.ended)
        assert (ENHANCE_YOUR_CALM, b"too_many_pings") in goaways(peer)
        assert peer.connection.closed is None


@pytest.mark.parametrize("key", ["streamAge", "streamIdle"])
def test_for_ever_by_default(tmp_path: Path, key: str) -> None:
    """Nothing is ended for its age unless it is asked for."""
    name = {"streamAge": "stream_age", "streamIdle": "stream_idle"}[key]
    assert getattr(nodes.config(tmp_path).limits, name) == 0
