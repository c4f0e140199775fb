"""A stream's first byte and what follows it, with faults: taken or refused, and never another exception."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from rogue.peer import Peer, RogueClient
from support import nodes, streams
from support.cost import timed
from tndrl.config import LimitsConfig
from tndrl.transport import http2
from tndrl.transport.h2_guard import FrameGuard, ViolationError, check_preface
from tndrl.transport.http2 import LARGEST_HELD_FRAME, PREFACE, FrameGate, Opening
from tndrl.transport.rate import TokenBucket
from wire.faults import faulty
from wire.stages import Stage, check_no_fault
from wire.test_handshake import valid

COUNTS = pytest.mark.parametrize(
    "count", [10_000, pytest.param(300_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
"""Byte streams for each of the parsers."""

LIMITS = LimitsConfig()

SETTINGS, ACK = http2.SETTINGS, http2.frame(4, b"", flags=1)
CALL = streams.headers(streams.fields("WhoAmI", service="test.Witness"))
MESSAGE = streams.message(end=True)
WINDOW, PING = http2.frame(8, b"\0\0\xff\xff"), http2.frame(6, bytes(8))
RESET = http2.frame(3, bytes(4), stream=1)
TWO_FRAMES = http2.frame(1, CALL[9:20], stream=1) + http2.frame(9, CALL[20:], flags=4, stream=1)
SOUND = [
    SETTINGS + ACK + CALL + MESSAGE,
    http2.EARLY_SETTINGS + CALL + ACK + MESSAGE,
    SETTINGS + WINDOW + PING + ACK + CALL + RESET,
    SETTINGS + TWO_FRAMES + MESSAGE,
    SETTINGS + http2.frame(0, bytes(70_000), stream=1) + CALL,
    SETTINGS + http2.goaway("enough"),
]
"""What clients send after the preface: calls, a header block in two frames, a frame too large to be held."""


def whole(dice: random.Random) -> bytes:
    """Return an HTTP/2 connection with a fault, or what passes for one."""
    kind = dice.random()
    if kind < 0.1:
        return PREFACE + dice.randbytes(dice.randrange(200))
    if kind < 0.2:
        return faulty(PREFACE + dice.choice(SOUND), dice)
    return PREFACE + faulty(dice.choice(SOUND), dice, SOUND)


def inputs(name: str, count: int) -> Iterator[list[bytes]]:
    """Yield byte streams in pieces."""
    dice = random.Random(name)
    for _ in range(count):
        data = whole(dice)
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(8)))
        yield [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@COUNTS
def test_the_gate(count: int) -> None:
    """What comes out is a beginning of what went in, and no more than one frame of it is held."""
    for pieces in inputs("gate", count):
        gate = FrameGate()
        passed = timed(lambda gate=gate, pieces=pieces: b"".join(map(gate.feed, pieces)), pieces)
        data = b"".join(pieces)
        assert data.startswith(passed)
        assert len(data) - len(passed) < LARGEST_HELD_FRAME


@COUNTS
def test_the_opening(count: int) -> None:
    """Nothing is added, and at most one frame's header is missing and another one held."""
    for pieces in inputs("opening", count):
        opening = Opening(FrameGate())
        passed = timed(lambda opening=opening, pieces=pieces: b"".join(map(opening.feed, pieces)), pieces)
        assert len(b"".join(pieces)) - 18 <= len(passed) <= len(b"".join(pieces))


@COUNTS
def test_the_guard(count: int) -> None:
    """A client is let through or refused for a reason; of streams with a fault many are refused."""
    reasons = [timed(lambda pieces=pieces: refusal(pieces), pieces) for pieces in inputs("guard", count)]
    assert count // 10 < sum(reason is not None for reason in reasons) < count
    assert "" not in reasons


def refusal(pieces: list[bytes]) -> str | None:
    """Return why a byte stream is refused; None if it is not."""
    guard = FrameGuard(LIMITS, 10.0, 0.0, TokenBucket(LIMITS.resets_per_second, 0.0))
    skip = len(PREFACE)
    try:
        check_preface(b"".join(pieces)[:skip])
        for piece in pieces:
            guard.feed(piece[skip:], 0.0)
            skip = max(0, skip - len(piece))
    except ViolationError as violation:
        return violation.reason
    return None


EACH = 20
"""Streams of one connection: a peer that breaks the rules more often is closed."""


def stream_bytes(dice: random.Random) -> bytes:
    """Return what a client writes to a stream: nearly always a type that is served, and HTTP/2 with a fault or none."""
    first = dice.choices((b"\x01", b"\x10", dice.randbytes(1)), (3, 6, 1))[0]
    sound = PREFACE + dice.choice(SOUND)
    return first + dice.choices((whole(dice), sound, dice.randbytes(100), b""), (16, 2, 1, 1))[0]


@pytest.mark.parametrize(
    "count", [1000, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_streams_of_a_node(stage: Stage, count: int) -> None:
    """A call behind them is answered, or the connection is closed for what they did, and the victim notices nothing."""
    dice = random.Random("streams")
    for _ in range(count // EACH):
        async with RogueClient(stage.node.address, valid()) as rogue:
            assert await rogue.outcome() is None
            for number in range(EACH):
                rogue.send(4 * number, stream_bytes(dice), end=dice.random() < 0.2)
            rogue.send(4 * EACH, b"\x10" + PREFACE + SOUND[0])
            await rogue.until(lambda rogue=rogue: is_over(rogue))
        await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)
    assert stage.node.stats()["streams_bridged"] > count // 4
    assert stage.witness.calls > count // EACH // 2


def is_over(rogue: Peer) -> bool:
    """Return whether the call behind all others was answered, or the connection is closed for what they did."""
    return rogue.connection.closed is not None or b"spiffe" in rogue.received[4 * EACH]
