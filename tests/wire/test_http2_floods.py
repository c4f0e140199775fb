"""Floods of HTTP/2 frames from a verified client, beside a victim (H2-03, H2-06)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from rogue.peer import Peer
from support import processes, streams, victim, workshop
from support.streams import RawClient, frame
from support.victim import Meter
from tndrl.config import LimitsConfig
from tndrl.transport.codes import ErrorCode
from tndrl.transport.inbound import FORGIVEN

LIMITS = LimitsConfig()
MEBIBYTE = 1024 * 1024
ACK = frame(4, 1, 0, b"")
CEILING = 0.15
"""CPU seconds of a node that a flood may cost, handshake included, before it is over."""

GIVE_UP = b"\0\0\0\x08"
OPENING = bytes([workshop.TYPE]) + streams.request("Make", service="support.Workshop") + ACK
CALL = streams.request("Make", service="support.Workshop").partition(frame(4, 0, 0, b""))[2]


class Running:
    """Counts handlers that run, and the most that ever did at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def hold(self, _requests: object, _context: object) -> AsyncIterator[bytes]:
        """Run until cancelled."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            self.now -= 1


async def briefly() -> None:
    """Let some time pass between two looks."""
    await asyncio.sleep(0.01)


def numbered(whole: bytes, number: int) -> bytes:
    """Return a frame of stream 1 as that of another stream."""
    return whole[:5] + number.to_bytes(4, "big") + whole[9:]


async def ended(peer: Peer, stream_id: int) -> int | None:
    """Wait for the end of a stream and return its code."""
    await peer.until(lambda: stream_id in peer.ended)
    return peer.ended[stream_id]


def resets(first: int, count: int, call: bytes = CALL) -> bytes:
    """Return so many calls from a stream number on, each given up at once."""
    numbers = range(first, first + 2 * count, 2)
    return b"".join(numbered(call, number) + frame(3, 0, number, GIVE_UP) for number in numbers)


async def rapid_reset(address: str, count: int) -> None:
    """Begin and give up so many calls, on a new stream or connection whenever one is cut."""
    while count > 0:
        async with RawClient(address) as peer:
            for stream_id in range(0, 4 * FORGIVEN, 4):
                peer.send(stream_id, OPENING + frame(3, 0, 1, GIVE_UP) + resets(3, 1000))
                assert await ended(peer, stream_id) == ErrorCode.EXCESSIVE_LOAD
                count -= 1000
            peer.send(4 * FORGIVEN, OPENING + frame(3, 0, 1, GIVE_UP) + resets(3, 1000))
            assert (await peer.closed()).code == ErrorCode.EXCESSIVE_LOAD
            count -= 1000


@pytest.mark.serial
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
async def test_rapid_reset(short_dir: Path, count: int) -> None:
    """Calls given up at once are cut off: the victim notices nothing and memory stays (H2-03)."""
    async with (
        processes.serving(short_dir) as node,
        victim.beside(node.address, short_dir / "victim", baseline=1.0) as v,
    ):
        meter = Meter(node.pid)
        async with v.attack():
            await rapid_reset(node.address, count)
            await asyncio.sleep(1)
        v.assert_unharmed(p99=0.050)
        assert meter.growth <= 10 * MEBIBYTE


async def test_rapid_reset_runs_few_handlers(short_dir: Path) -> None:
    """Of calls that are given up at once never more than a hundred run, and none is left (H2-03)."""
    running = Running()
    handlers = {"Make": grpc.stream_stream_rpc_method_handler(running.hold)}
    async with streams.serving(short_dir, handlers) as listener, RawClient(listener.address) as peer:
        call = streams.headers(streams.fields("Make"))
        opening = bytes([streams.GRPC_TYPE]) + streams.HELLO + ACK
        peer.send(0, opening + resets(1, 1000, call))
        assert await ended(peer, 0) == ErrorCode.EXCESSIVE_LOAD
        await streams.until(lambda: not listener.stats()["streams_open"] and not running.now, briefly)
    assert running.most <= 100


FLOODS = {
    "SETTINGS": frame(4, 0, 0, b"\0\x04\0\0\xff\xff"),
    "acknowledged SETTINGS": ACK,
    "PING": frame(6, 0, 0, bytes(8)),
    "answered PING": frame(6, 1, 0, bytes(8)),
    "WINDOW_UPDATE": frame(8, 0, 0, b"\0\0\0\x01"),
    "PRIORITY": frame(2, 0, 1, b"\0\0\0\x03\x10"),
    "empty DATA": frame(0, 0, 1, b""),
    "unknown": frame(0xFA, 0, 0, b""),
    "GOAWAY": frame(7, 0, 0, bytes(8)),
    "CONTINUATION": frame(9, 0, 3, b""),
}

BY_GRPCIO = ("acknowledged SETTINGS", "PING", "CONTINUATION")
"""grpcio may end these first, with GOAWAY or by closing its connection."""


async def flood(address: str, name: str) -> None:
    """Send twice as many frames as a second allows, on a stream with a call under way, and see it end."""
    async with RawClient(address) as peer:
        opening = OPENING + (frame(1, 0, 3, b"") if name == "CONTINUATION" else b"")
        peer.send(0, opening + 2 * LIMITS.control_frames_per_second * FLOODS[name])
        code = await ended(peer, 0)
        assert code == ErrorCode.EXCESSIVE_LOAD or (name in BY_GRPCIO and code in (None, ErrorCode.CANCELLED))


@pytest.mark.serial
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.long)])
async def test_floods(short_dir: Path, times: int) -> None:
    """A flood of any kind of frame ends its stream, at little cost and unnoticed by a victim (H2-06)."""
    async with (
        processes.serving(short_dir) as node,
        victim.beside(node.address, short_dir / "victim", baseline=1.0) as v,
    ):
        meter, spent = Meter(node.pid), {}
        async with v.attack():
            for name in FLOODS:
                before = meter.cpu
                for _ in range(times):
                    await flood(node.address, name)
                spent[name] = (meter.cpu - before) / times
        assert max(spent.values()) <= CEILING, spent
        v.assert_unharmed(p99=0.050)
        assert meter.growth <= 10 * MEBIBYTE
