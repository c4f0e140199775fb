"""Whole messages with random faults in them: closed with a code, or accepted by nobody, and never a fault of ours."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from aioquic.tls import HandshakeType

from rogue.script import Flight
from wire.stages import Caller, Stage
from wire.test_handshake import valid

COUNTS = [20, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
"""Flights sent to a node in each role."""

HEADER = 4
"""Bytes of type and length, which stay true: a message that never ends is another test's."""

HELLOS = (HandshakeType.CLIENT_HELLO, HandshakeType.SERVER_HELLO)
"""Left alone: with other keys than ours the rogue could not read how it was closed."""


def faulty(message: bytes, dice: random.Random) -> bytes:
    """Return the message with a bit turned, or with bytes cut out or put in."""
    body = bytearray(message[HEADER:])
    at = dice.randrange(len(body))
    kind = dice.randrange(3)
    if kind == 0:
        body[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        del body[at : at + dice.randrange(1, 9)]
    else:
        body[at:at] = dice.randbytes(dice.randrange(1, 9))
    return message[:1] + len(body).to_bytes(3, "big") + bytes(body)


def with_a_fault(seed: int) -> Callable[[Flight], Flight]:
    """Return an arrangement that breaks one message of a flight after the transcript is made."""
    dice = random.Random(seed)

    def arrange(flight: Flight) -> Flight:
        breakable = [index for index, (_, message) in enumerate(flight) if message[0] not in HELLOS]
        if not breakable:
            return flight
        index = dice.choice(breakable)
        epoch, message = flight[index]
        return [*flight[:index], (epoch, faulty(message, dice)), *flight[index + 1 :]]

    return arrange


@pytest.mark.parametrize("count", COUNTS)
async def test_a_server_refuses_faulty_messages(stage: Stage, count: int) -> None:
    """Each client is closed with a code of the handshake; the victim notices nothing."""
    for seed in range(count):
        closed = await stage.refused(valid(arrange=with_a_fault(seed)))
        assert closed.frame_type == 0x06, seed  # CRYPTO


@pytest.mark.parametrize("count", COUNTS)
async def test_a_client_refuses_faulty_messages(caller: Caller, count: int) -> None:
    """Each server is closed with a code of the handshake; the victim notices nothing."""
    for seed in range(count):
        closed, _error = await caller.refuses(valid(arrange=with_a_fault(seed)))
        assert closed.frame_type == 0x06, seed  # CRYPTO
