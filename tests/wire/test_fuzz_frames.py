"""Frames with faults in packets with valid protection: taken, or closed with a code, and never a fault of ours."""

from __future__ import annotations

import logging
import random
from dataclasses import replace

import pytest
from aioquic.tls import Epoch, HandshakeType

from rogue import frames, messages
from rogue.frames import frame
from rogue.pair import Pair
from support.cost import timed
from wire.faults import faulty
from wire.stages import check_no_fault
from wire.test_handshake import valid

COUNTS = [1700, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
"""Packets in each role and at each level: 10,200 in all in the ordinary run, 30,000 in the long one.

What closes a connection costs a handshake, 6 ms of CPU, and most does.
"""

VALID = valid()

ROLES = pytest.mark.parametrize("rogue_is_client", [True, False], ids=["server", "client"])

FRAMES = [
    frame(frames.PADDING),
    frame(frames.PING),
    frames.ack([range(3)]),
    frames.ack([range(5, 6), range(3)], delay=9),
    frame(frames.RESET_STREAM, 0, 7, 100),
    frame(frames.STOP_SENDING, 0, 7),
    frames.crypto(0, b"\x04\x00\x00\x05what?"),
    frame(frames.NEW_TOKEN, 4, data=b"what"),
    frames.stream(0, 0, b"\x10" + bytes(40)),
    frames.stream(0, 60, b"x" * 20, end=True),
    frames.stream(4, 0, b"\x01PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(frames.MAX_DATA, 1 << 30),
    frame(frames.MAX_STREAM_DATA, 0, 1 << 30),
    frame(frames.MAX_STREAMS, 200),
    frame(frames.DATA_BLOCKED, 1000),
    frame(frames.STREAM_DATA_BLOCKED, 0, 1000),
    frame(frames.STREAMS_BLOCKED, 10),
    frame(frames.NEW_CONNECTION_ID, 9, 0, 8, data=bytes(range(24))),
    frame(frames.RETIRE_CONNECTION_ID, 1),
    frame(frames.PATH_CHALLENGE, data=b"whatever"),
    frame(frames.PATH_RESPONSE, data=b"whatever"),
    frames.close(7, b"because"),
    frame(frames.HANDSHAKE_DONE),
]
"""One of each, most of them sound where they are sent."""


HANDSHAKE_FRAMES = [
    each for each in FRAMES if each[0] in (frames.PADDING, frames.PING, frames.ACK, frames.CRYPTO)
]
"""What may stand in packets before the handshake is complete (RFC 9000 section 12.4), but for CONNECTION_CLOSE."""

LEVELS = {
    Epoch.INITIAL: HANDSHAKE_FRAMES,
    Epoch.HANDSHAKE: HANDSHAKE_FRAMES,
    Epoch.ONE_RTT: FRAMES,
}


def payload(sound: list[bytes], dice: random.Random) -> bytes:
    """Return some frames, one of them at least with a fault, or no frames at all."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(1, 1100)) + bytes(4)
    parts = dice.choices(sound, k=dice.randrange(1, 6))
    at = dice.randrange(len(parts))
    parts[at] = faulty(parts[at], dice, FRAMES)
    return b"".join(parts)[:1100] + bytes(4)  # a header's protection needs that much


def opened(epoch: Epoch, *, rogue_is_client: bool) -> Pair:
    """Return a pair in which ours reads packets of a level."""
    unfinished = messages.without(HandshakeType.FINISHED)
    script = VALID if epoch is Epoch.ONE_RTT else replace(VALID, arrange=unfinished)
    pair = Pair(script, rogue_is_client=rogue_is_client)
    if epoch is Epoch.INITIAL:
        pair.begin()
    else:
        pair.exchange()
    assert pair.close is None
    return pair


@ROLES
@pytest.mark.parametrize("epoch", LEVELS, ids=["initial", "handshake", "1-rtt"])
@pytest.mark.parametrize("count", COUNTS)
def test_frames(caplog: pytest.LogCaptureFixture, count: int, epoch: Epoch, rogue_is_client: bool) -> None:
    """Ours lives on or is closed with a code of a breach; only what closes it costs a new connection."""
    caplog.set_level(logging.WARNING)
    dice = random.Random(f"{epoch} {rogue_is_client}")
    pair = opened(epoch, rogue_is_client=rogue_is_client)
    closed = 0
    for _ in range(count):
        attack = payload(LEVELS[epoch], dice)
        timed(lambda pair=pair, attack=attack: pair.attack(attack, epoch), attack)
        timed(lambda pair=pair: pair.answer(), attack)
        if (close := pair.close) is not None:
            assert close.remote or close.code not in (0, 1), (close, attack.hex())
            pair, closed = opened(epoch, rogue_is_client=rogue_is_client), closed + 1
    check_no_fault(caplog)
    assert 0 < closed < count
