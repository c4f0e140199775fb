"""Header blocks with a :path that no gRPC server may see, however it is written and cut."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from rogue.peer import RogueClient
from support import nodes, streams
from tndrl.transport import http2
from tndrl.transport.h2_guard import ViolationError
from tndrl.transport.path_guard import PathGuard
from wire.test_handshake import valid

PATH = b":path"
HUFFMAN_PATH = bytes.fromhex("b958d33f")  # RFC 7541 appendix B, as are the codes below
HUFFMAN_SLASH_X = bytes.fromhex("61e7")  # "/x": 011000 1111001, and ones to the end of the octet
HUFFMAN_0X80 = bytes.fromhex("fffe6f")  # 0x80: the shortest code of an octet that is not ASCII
BAD = b"/test.Service/\xd7ho"


def string(text: bytes, *, huffman: bool = False) -> bytes:
    """Return a string literal (RFC 7541 section 5.2) that is shorter than 127 octets."""
    return bytes([len(text) | 0x80 * huffman]) + text


def headers(block: bytes, *, flags: int = 4) -> bytes:
    """Return HEADERS of stream 1."""
    return http2.frame(1, block, flags=flags, stream=1)


STATIC, INDEXED, NEVER = b"\x04", b"\x44", b"\x14"
"""A literal that is named by the static table's entry 4: without indexing, with it, and never indexed."""

REFUSED = {
    "plain": headers(STATIC + string(BAD)),
    "indexed": headers(INDEXED + string(BAD)),
    "never indexed": headers(NEVER + string(BAD)),
    "the other entry": headers(b"\x05" + string(BAD)),
    "named in full": headers(b"\x00" + string(PATH) + string(BAD)),
    "named in Huffman code": headers(b"\x40" + string(HUFFMAN_PATH, huffman=True) + string(BAD)),
    "Huffman": headers(STATIC + string(HUFFMAN_0X80, huffman=True)),
    "Huffman after others": headers(STATIC + string(HUFFMAN_SLASH_X[:1] + b"\xff\xff\xcd\xff", huffman=True)),
    "named by the dynamic table": headers(INDEXED + string(b"/x") + b"\x0f\x2f" + string(BAD)),
    "in a later block": headers(b"\x40" + string(PATH) + string(b"/x")) + headers(b"\x0f\x2f" + string(BAD)),
    "behind other entries": headers(
        INDEXED + string(b"/x") + (b"\x40" + string(b"a") + string(b"b")) * 3 + b"\x0f\x32" + string(BAD)
    ),
    "padded, with priority": headers(b"\x02" + bytes(5) + STATIC + string(BAD) + bytes(2), flags=0x2C),
    "continued": http2.frame(1, STATIC + string(BAD)[:4], stream=1)
    + http2.frame(9, string(BAD)[4:], flags=4, stream=1),
    "after the table's size": headers(b"\x3f\xe1\x1f" + STATIC + string(BAD)),
    "cut off": headers(STATIC + b"\x10/x"),
    "an entry that is not there": headers(b"\x0f\x2f" + string(b"/x")),
    "an endless number": headers(b"\x7f" + b"\xff" * 9),
}

PASSED = {
    "plain": headers(STATIC + string(b"/test.Service/Who")),
    "Huffman": headers(STATIC + string(HUFFMAN_SLASH_X, huffman=True)),
    "another field": headers(b"\x00" + string(b"x-bin") + string(b"\x00\xd7\xff")),
    "another field of the dynamic table": headers(
        b"\x40" + string(b"x-bin") + string(b"\xd7") + b"\x0f\x2f" + string(b"\xd7")
    ),
    "no header block": http2.frame(0, STATIC + string(BAD), stream=1) + http2.PREFACE[:0],
    "no block that is complete": http2.frame(1, STATIC + string(BAD), stream=1),
    "a whole call": streams.request("Who"),
}


def feed(data: bytes, size: int) -> None:
    """Show a guard some bytes, in pieces of a size."""
    guard = PathGuard()
    for at in range(0, len(data), size):
        guard.feed(data[at : at + size])


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("name", REFUSED, ids=[name.replace(" ", "-") for name in REFUSED])
def test_refused(name: str, size: int) -> None:
    """A path with an octet that is not ASCII, and a block that cannot be read."""
    with pytest.raises(ViolationError):
        feed(http2.SETTINGS + REFUSED[name], size)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("name", PASSED)
def test_passed(name: str, size: int) -> None:
    """What is no path may have any octets, as grpcio's own metadata does."""
    feed(http2.SETTINGS + PASSED[name] * 2, size)


def test_the_last_byte_decides() -> None:
    """Nothing is refused too late: without its last byte a block does nothing."""
    feed(REFUSED["plain"][:-1], 3)


def test_any_bytes() -> None:
    """Whatever comes passes or is refused, 10,000 times."""
    dice = random.Random(1)
    for _ in range(10_000):
        data = headers(dice.randbytes(dice.randrange(40)))
        try:
            feed(data + data, dice.choice((1, 7, 100)))
        except ViolationError as refusal:
            assert str(refusal)  # noqa: PT017 - it may pass, too


async def test_a_service_outlives_the_call(short_dir: Path) -> None:
    """H2-07: the stream is reset with a code, and everybody else's calls go on."""
    witness = nodes.Witness()
    bad = streams.headers(streams.fields("WhoAmI", service="test.Witness")).replace(b"Witness", b"Wit\xd7ess")
    async with (
        asyncio.timeout(20),
        nodes.running(short_dir / "a", witness=witness) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        async with RogueClient(node.address, valid()) as rogue:
            assert await rogue.outcome() is None
            rogue.send(0, b"\x10" + http2.PREFACE + http2.SETTINGS + bad)
            await rogue.until(lambda: 0 in rogue.ended)
        assert rogue.ended[0] is not None
        assert await nodes.who_am_i(peer) == "spiffe://tndrl/node/b"
        assert node.stats()["streams_reset.frame_invalid"] == 1
