"""A peer that asks for much on many streams and takes nothing, and one that sends to who reads nothing (QUIC-29)."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from rogue.peer import Peer
from support import certs, nodes, processes, streams, workshop
from support.streams import RawClient, frame
from support.victim import Meter
from tndrl.config import LimitsConfig
from tndrl.transport import http2

pytestmark = pytest.mark.serial

MEBIBYTE = 1024 * 1024
LIMITS = LimitsConfig()
WINDOW = (1 << 31) - 1
"""The largest window of HTTP/2: whatever holds the node back then, it is not that."""

PIECE = 16_000
STREAMS = 100


def greedy(pieces: int) -> bytes:
    """Return the begin of a stream with a call for so many pieces, for which there is all the room of HTTP/2."""
    settings = frame(4, 0, 0, (4).to_bytes(2, "big") + WINDOW.to_bytes(4, "big"))
    more = frame(8, 0, 0, (WINDOW - 65_535).to_bytes(4, "big"))
    call = streams.headers(streams.fields("MakeMany", service="support.Workshop"))
    work = workshop.Work(material=bytes(PIECE), pieces=pieces).SerializeToString()
    ack = frame(4, 1, 0, b"")
    return (
        bytes([workshop.TYPE])
        + http2.PREFACE
        + settings
        + ack
        + more
        + call
        + streams.message(work, end=True)
    )


def grant_nothing(peer: Peer) -> None:
    """Let the other side send what it may already, and not a byte more."""
    peer.connection._write_connection_limits = lambda builder, space: None
    peer.connection._write_stream_limits = lambda builder, space, stream: None


@pytest.mark.parametrize(("count", "most"), [(1, 2.5), (STREAMS, 45)])
async def test_a_peer_that_takes_nothing(short_dir: Path, count: int, most: float) -> None:
    """A node keeps 1 MiB for a stream, 15 for a connection and little for each of its streams, and serves others."""
    async with (
        processes.serving(short_dir / "a", command=processes.WORKSHOP) as node,
        RawClient(node.address) as peer,
        nodes.calling(short_dir / "b", "b", node.address) as other,
    ):
        await nodes.ping(nodes.control(other))
        peer.send(0, greedy(1))
        await peer.until(lambda: len(peer.received[0]) > PIECE)
        grant_nothing(peer)
        meter = Meter(node.pid)
        for number in range(1, count + 1):
            peer.send(4 * number, greedy(1_000))
        for _ in range(50):
            await peer.settle()
        grown = meter.growth / MEBIBYTE
        print(f"{count} streams that take nothing: {grown:.1f} MiB")
        await nodes.ping(nodes.control(other))
        assert grown <= most


PUSH = """
import asyncio, sys
import tndrl
from support import streams

async def push(peer, size):
    stream = await peer._dialer.open_stream(peer._target, streams.ECHO_TYPE)
    await stream.send(streams.request("Method"))
    data = streams.frame(0, 0, 1, bytes(16_000)) * 4
    for _ in range(size // len(data)):
        await stream.send(data)

async def main(address, folder):
    async with tndrl.connect(address, pki_dir=folder) as peer:
        await asyncio.gather(*(push(peer, 1 << 24) for _ in range(64)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""
"""Sends 1 GiB, 16 MiB on each of 64 streams."""


async def test_a_service_that_reads_nothing(short_dir: Path) -> None:
    """Of a gigabyte that a peer pushes at a service that reads nothing, no more than the window is held."""
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(short_dir / "silent"))
        service.listen(128)
        async with streams.listening(short_dir) as (listener, _echo):
            listener.bind(streams.ECHO_TYPE, str(short_dir / "silent"))
            certs.write_pki_dir(short_dir / "b", certs.node_leaf("b"))
            arguments = [sys.executable, "-c", PUSH, listener.address, str(short_dir / "b")]
            meter = Meter(os.getpid())
            path = os.pathsep.join(sys.path)
            pusher = await asyncio.create_subprocess_exec(
                *arguments, env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(short_dir)}
            )
            try:
                await streams.until(
                    lambda: listener.stats().get("bytes_received", 0) >= LIMITS.connection_window,
                    lambda: asyncio.sleep(0.01),
                )
                (session,) = listener.sessions
                for _ in range(50):
                    await session.ping()
                grown = meter.growth / MEBIBYTE
                received = listener.stats()["bytes_received"] / MEBIBYTE
                print(f"a service that reads nothing: {received:.1f} MiB came, {grown:.1f} MiB held")
                assert grown <= LIMITS.connection_window / MEBIBYTE + 4
            finally:
                pusher.kill()
                await pusher.wait()
