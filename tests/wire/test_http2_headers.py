"""Headers that no honest client sends: each call of them gets its answer, and the process lives (H2-07, H2-10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from rogue.peer import Peer
from support import nodes, processes, streams, victim, workshop
from support.literals import block, headers, literal, remembered, text
from support.streams import RawClient, frame, outcomes
from support.victim import Meter

ACK = frame(4, 1, 0, b"")
FIELDS = streams.fields("Make", service="support.Workshop")
MEBIBYTE = 1024 * 1024


def call(extra: bytes = b"", *, without: str = "", **changed: str) -> bytes:
    """Return the header block of a call, with something wrong."""
    given = FIELDS | {name.replace("_", "-"): value for name, value in changed.items()}
    return block((name, value) for name, value in given.items() if name != without) + extra


def pseudo(name: str, value: str) -> bytes:
    """Return the header block of a call with another pseudo header field."""
    return block((FIELDS | {name: value}).items())


REFUSED = {
    "bomb": call(remembered("x", "a" * 3900) + b"\xbe" * 60_000),
    "60 KB": call(literal("x", "y" * 60_000)),
    "16 KB": call(literal("x", "y" * 16_000)),
    "9 KB": call(literal("x", "y" * 9_000)),
    "many fields": call(b"".join(literal(f"x{number}", "") for number in range(1000))),
    "base64 that is none": call(literal("k-bin", "!!!")),
    "base64 cut off": call(literal("k-bin", "AAAAA")),
    "no path": call(without=":path"),
    "no method": call(without=":method"),
    "no scheme": call(without=":scheme"),
    "no authority": call(without=":authority"),
    "no te": call(without="te"),
    "te": call(te="gzip"),
    "scheme": pseudo(":scheme", "gopher"),
    "method": pseudo(":method", "GET"),
    "path without a slash": pseudo(":path", "Make"),
    "unknown pseudo header": call(literal(":protocol", "websocket")),
    "authority twice": call(literal(":authority", "other")),
    "capitals": call(literal("X-Upper", "x")),
    "zero in a name": call(literal("a\0b", "x")),
    "no name": call(literal("", "x")),
    "nothing": b"",
    "timeout below zero": call(literal("grpc-timeout", "-1S")),
    "timeout of words": call(literal("grpc-timeout", "soon")),
    "timeout of nothing": call(literal("grpc-timeout", "")),
    "unknown encoding": call(literal("grpc-encoding", "zstd")),
}
"""These cost their own call: a status other than OK, or RST_STREAM."""

BROKEN = {
    "index 0": call(b"\x80"),
    "index beyond the table": call(b"\xff\xff\xff\xff\x7f"),
    "integer without end": call(b"\xff" + b"\xff" * 20 + b"\x7f"),
    "text beyond the block": call(b"\0\x7f\xff\xff\xff\x7fabc"),
    "table too large": b"\x3f\xe1\xff\xff\x7f" + call(),
    "table size again and again": b"\x20\x3f\xe1\x1f" * 4000 + call(),
    "padding beyond the frame": None,
    "stream 0": None,
    "even stream": None,
    "PRIORITY on stream 0": None,
    "SETTINGS on stream 1": None,
}
"""After these the state of the compression, or of the streams, is unknown: they cost the connection on the stream."""

RAW = {
    "padding beyond the frame": frame(1, 4 | 8, 1, b"\xff" + call()[:50]),
    "stream 0": headers(call(), 0),
    "even stream": headers(call(), 2),
    "PRIORITY on stream 0": frame(2, 0, 0, bytes(5)),
    "SETTINGS on stream 1": frame(4, 0, 1, b""),
}

ODD = {
    "path twice": call(literal(":path", "/support.Workshop/Make")),
    "method twice": call(literal(":method", "POST")),
    "line break in a value": call(literal("a", "b\r\nc: d")),
    "connection": call(literal("connection", "close")),
    "content-type": call(content_type="application/grpc+proto"),
    "empty binary": call(literal("k-bin", "")),
    "7 KB": call(literal("x", "y" * 7_000)),
    "timeout beyond all bounds": call(literal("grpc-timeout", "99999999H")),
    "timeout of twenty digits": call(literal("grpc-timeout", "9" * 20 + "S")),
    "text": call(b"\0" + text("x") + text("y")),
}
"""These are served: grpcio is more patient than RFC 9113, and they reach nobody but its own handler."""


async def ask(peer: Peer, blocks: list[bytes]) -> list[str]:
    """Make a call with each header block, each in a connection of its own; return how they end."""
    for number, whole in enumerate(blocks):
        opening = bytes([workshop.TYPE]) + streams.HELLO + ACK
        peer.send(4 * number, opening + headers(whole, 1) + streams.message(end=True))
        await peer.until(lambda stream_id=4 * number: bool(outcomes(peer.received[stream_id])))
    return [outcomes(peer.received[4 * number])[1] for number in range(len(blocks))]


@pytest.mark.serial
async def test_headers(short_dir: Path) -> None:
    """Each call with headers of its own making is answered or reset, at little cost, and an honest one works after."""
    async with (
        processes.serving(short_dir) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
        victim.unharmed(node.address, short_dir / "victim"),
    ):
        assert await workshop.stub_of(peer).Make(workshop.Work())
        meter = Meter(node.pid)
        async with RawClient(node.address) as raw:
            refused = dict(zip(REFUSED, await ask(raw, list(REFUSED.values())), strict=True))
        assert {name: outcome for name, outcome in refused.items() if outcome == "0"} == {}
        async with RawClient(node.address) as raw:
            served = dict(zip(ODD, await ask(raw, list(ODD.values())), strict=True))
        assert set(served.values()) == {"0"}, served
        assert meter.growth <= 10 * MEBIBYTE
        assert await workshop.stub_of(peer).Make(workshop.Work())


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_compression(short_dir: Path, name: str) -> None:
    """Where compression or streams are broken the stream ends, and the connection carries others."""
    whole = BROKEN[name]
    sent = RAW[name] if whole is None else headers(whole, 1)
    async with nodes.running(short_dir, witness=nodes.Witness()) as node, RawClient(node.address) as raw:
        raw.send(0, bytes([nodes.WITNESS_TYPE]) + streams.HELLO + ACK + sent)
        await raw.until(lambda: 0 in raw.ended)
        opening = bytes([nodes.WITNESS_TYPE]) + streams.request("WhoAmI", service="test.Witness")
        raw.send(4, opening + streams.message(end=True))
        await raw.until(lambda: outcomes(raw.received[4]) == {1: "0"})
