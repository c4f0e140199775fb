"""Messages that lie about themselves, and calls without end: each is answered, and costs little (H2-08, 09, 10)."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest

from support import nodes, processes, streams, victim, workshop
from support.held import Held
from support.literals import block, headers
from support.streams import GRPC_TYPE, RawClient, frame, outcomes
from support.victim import Meter
from tndrl.transport.codes import ErrorCode

ACK = frame(4, 1, 0, b"")
MEBIBYTE = 1024 * 1024
CEILING = 16 * MEBIBYTE
ANSWERED = 10.0

INTERNAL, EXHAUSTED, DEADLINE_EXCEEDED = "13", "8", "4"
EITHER = ("Make", "Collect")
STREAMED = ("Collect", "Exchange")


def message(body: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Return a gRPC message as it stands in DATA, its length and its flag as one likes."""
    return bytes([flag]) + struct.pack(">I", len(body) if length is None else length) + body


def data(body: bytes, *, end: bool = True) -> bytes:
    """Return DATA of stream 1."""
    parts = [body[at : at + 16384] for at in range(0, len(body), 16384)] or [b""]
    return b"".join(frame(0, int(end and part is parts[-1]), 1, part) for part in parts)


def bomb(size: int, window_bits: int) -> bytes:
    """Return so many zeros, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(size // MEBIBYTE)) + packer.flush()


def gzip_bomb(size: int) -> bytes:
    return message(bomb(size, 31), flag=1)


def deflate_bomb(size: int) -> bytes:
    return message(bomb(size, 15), flag=1)


LIES = {
    "over the limit": (message(bytes(4 * MEBIBYTE + 1)), EXHAUSTED, EITHER),
    "4 GiB announced": (message(b"abc", length=2**32 - 1), EXHAUSTED, EITHER),
    "flag without an encoding": (message(b"abc", flag=1), INTERNAL, EITHER),
    "cut off": (message(b"abc", length=100), INTERNAL, ("Make", "MakeMany")),
    "half a prefix": (b"\0\0", INTERNAL, ("Make", "MakeMany")),
    "nothing": (b"", INTERNAL, ("Make", "MakeMany")),
    # docs/decisions/cut-off.md
    "cut off, in a stream": (message(b"abc", length=100), "0", STREAMED),
    "half a prefix, in a stream": (b"\0\0", "0", STREAMED),
    "not what the method takes": (message(b"\xff" * 100), INTERNAL, ("Make", "MakeMany")),
}
"""What is in a call, how it ends, and in which methods."""


async def ask(address: str, method: str, body: bytes, **extra: str) -> str:
    """Call a method of the workshop with anything; return the status."""
    fields = streams.fields(method, service="support.Workshop") | extra
    async with RawClient(address) as peer, asyncio.timeout(ANSWERED):
        peer.send(
            0, bytes([workshop.TYPE]) + streams.HELLO + ACK + headers(block(fields.items()), 1) + data(body)
        )
        await peer.until(lambda: 1 in outcomes(peer.received[0]))
        return outcomes(peer.received[0])[1]


@pytest.mark.serial
@pytest.mark.parametrize("size", [100 * MEBIBYTE, pytest.param(1024 * MEBIBYTE, marks=pytest.mark.long)])
async def test_messages(short_dir: Path, size: int) -> None:
    """Messages too large, cut off, or that unfold to a gigabyte are refused, and memory stays (H2-08)."""
    # Made before: that takes this process longer than the node.
    bombs = {"gzip": gzip_bomb(size), "deflate": deflate_bomb(size)}
    async with (
        processes.serving(short_dir) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
        victim.unharmed(node.address, short_dir / "victim"),
    ):
        assert await workshop.stub_of(peer).Make(workshop.Work(material=bytes(3 * MEBIBYTE)))
        meter, wrong = Meter(node.pid), {}
        for name, (body, status, methods) in LIES.items():
            for method in methods:
                if (answer := await ask(node.address, method, body)) != status:
                    wrong[name, method] = answer
        assert wrong == {}
        for encoding, body in bombs.items():
            assert await ask(node.address, "Make", body, **{"grpc-encoding": encoding}) == EXHAUSTED
        assert (
            await ask(node.address, "Make", message(b"abc", flag=1), **{"grpc-encoding": "gzip"}) == INTERNAL
        )
        assert meter.growth <= CEILING
        assert await workshop.stub_of(peer).Make(workshop.Work())


OPENING = bytes([GRPC_TYPE]) + streams.HELLO


def holding(number: int, **extra: str) -> bytes:
    """Return the headers of a call that does not end."""
    return headers(block((streams.fields("Hold") | extra).items()), number)


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
@pytest.mark.parametrize("acknowledges", [True, False], ids=["polite", "silent"])
async def test_calls_at_once(short_dir: Path, count: int, acknowledges: bool) -> None:
    """Of thousands of calls at once on a stream a hundred run; the rest is refused, SETTINGS or not (H2-09)."""
    held = Held()
    async with streams.serving(short_dir, held.handlers) as listener, RawClient(listener.address) as peer:
        calls = b"".join(holding(number) for number in range(1, 2 * count, 2))
        peer.send(0, OPENING + (ACK if acknowledges else b"") + calls)
        await held.begun.reach(100)
        await peer.until(lambda: len(outcomes(peer.received[0])) == count - 100)
        assert set(Counter(outcomes(peer.received[0]).values())) <= {"reset", EXHAUSTED}
        assert (held.now, held.most) == (100, 100)
        await streams.echoes(peer, 4)
        peer.connection.reset_stream(0, ErrorCode.CANCELLED)
        peer.pump()
        async with asyncio.timeout(5):
            await held.cancelled.reach(100)


@pytest.mark.serial
@pytest.mark.parametrize(
    ("timeout", "seconds"), [("1n", 0.0), ("1u", 0.0), ("1m", 0.001), ("100m", 0.1), ("0S", 0.0)]
)
async def test_deadlines_on_the_wire(short_dir: Path, timeout: str, seconds: float) -> None:
    """A call ends with its deadline, however short, and its handler with it (H2-10)."""
    held = Held()
    async with streams.serving(short_dir, held.handlers) as listener, RawClient(listener.address) as peer:
        began = time.monotonic()
        peer.send(0, OPENING + ACK + holding(1, **{"grpc-timeout": timeout}))
        await peer.until(lambda: 1 in outcomes(peer.received[0]))
        assert time.monotonic() - began < seconds + 0.2
        assert outcomes(peer.received[0])[1] == DEADLINE_EXCEEDED
        await streams.until(lambda: held.begun.count == held.cancelled.count, lambda: asyncio.sleep(0.01))
