"""TLS messages with faults: refused with an alert, or taken by a handshake that fails, and never a fault of ours.

``test_fuzz.py`` has the same against running nodes, with fewer.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from aioquic.tls import HandshakeType, State

from rogue.pair import Pair
from rogue.script import Flight
from support.cost import timed
from wire.faults import faulty
from wire.stages import check_no_fault
from wire.test_handshake import valid

COUNTS = [2500, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
"""Handshakes with a fault in a hello, and with one in another message, in each role: up to 6 ms of CPU each."""

ROLES = pytest.mark.parametrize("rogue_is_client", [True, False], ids=["server", "client"])
VALID = valid()
ACCEPTED = (State.SERVER_POST_HANDSHAKE, State.CLIENT_POST_HANDSHAKE)
HELLOS = (HandshakeType.CLIENT_HELLO, HandshakeType.SERVER_HELLO)


def with_a_length(message: bytes) -> bytes:
    """Return a message whose header says how long it is: one that never ends is another test's."""
    return message[:1] + (len(message) - 4).to_bytes(3, "big") + message[4:] if len(message) > 4 else message


def broken(message: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """Return a message with a fault in it, and a header that is true nearly always."""
    made = message
    while made == message:
        made = faulty(message, dice, others)
        made = with_a_length(made) if dice.random() < 0.9 else made
    return made


def breaking(dice: random.Random, *, hellos: bool) -> Callable[[Flight], Flight]:
    """Return an arrangement with a fault in one message, a hello or any other, after the transcript is made."""

    def arrange(flight: Flight) -> Flight:
        breakable = [index for index, (_, message) in enumerate(flight) if (message[0] in HELLOS) == hellos]
        if not breakable:
            return flight
        at = dice.choice(breakable)
        epoch, message = flight[at]
        made = broken(message, dice, [message for _, message in flight])
        return [*flight[:at], (epoch, made), *flight[at + 1 :]]

    return arrange


@ROLES
@pytest.mark.parametrize("hellos", [True, False], ids=["hellos", "others"])
@pytest.mark.parametrize("count", COUNTS)
def test_messages(caplog: pytest.LogCaptureFixture, count: int, hellos: bool, rogue_is_client: bool) -> None:
    """No handshake with a fault in it completes: it is closed with a code of TLS or QUIC, or waits for the rest."""
    caplog.set_level(logging.WARNING)
    closed = 0
    for seed in range(count):
        arrange = breaking(random.Random(f"{seed} {rogue_is_client}"), hellos=hellos)
        pair = Pair(replace(VALID, arrange=arrange), rogue_is_client=rogue_is_client)
        timed(pair.exchange, seed)
        assert pair.ours.handshake_step not in ACCEPTED or pair.close is not None, seed
        if pair.close is not None and not pair.close.remote:
            assert pair.close.code > 1, (seed, pair.close)
            closed += 1
    check_no_fault(caplog)
    assert closed > count // 4
