"""A client that hears no more of a stream asks."""

from __future__ import annotations

import math
from inspect import signature
from itertools import pairwise

import pytest
from aioquic.quic.connection import QuicConnection

from support.carried import leave_none_out
from support.link import Direction, Link
from support.virtual import Transfer
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.silence import ANSWER, PATIENCE, AskAfterSilence

TO_NODE = Direction.TO_NODE

ROUND_TRIP = 0.02
"""Seconds."""

BEGIN = 1.0
"""Virtual seconds at which a download begins: the path has been searched by then."""

SIZE = 300_000
"""Bytes of it."""


def settled(link: Link) -> Transfer:
    """Return a download that has not begun, on a connection without gaps: those are acknowledged once more."""
    transfer = Transfer(link, size=SIZE, upload=False)
    transfer.handshake(limit=10.0)
    transfer.wait(BEGIN - transfer.now)
    for end in (transfer.client, transfer.server):
        leave_none_out(end.quic)
    return transfer


def downloaded() -> Transfer:
    """Return a complete download."""
    transfer = settled(Link(1, delay=ROUND_TRIP / 2))
    transfer.run(limit=10.0)
    return transfer


def quiet(transfer: Transfer, seconds: float) -> int:
    """Return how many datagrams a client sends in a span of time in which nothing happens."""
    before = transfer.link.lines[TO_NODE].counts["sent"]
    transfer.wait(seconds)
    return transfer.link.lines[TO_NODE].counts["sent"] - before


@pytest.mark.parametrize("speaks", [False, True], ids=["heard", "said"])
def test_a_client_asks_less_and_less(speaks: bool) -> None:
    """A client asks 50 ms and a round trip after the last data of either side, four times later, and so on."""
    transfer = downloaded()
    if speaks:
        transfer.wait(40.0)
        transfer.say(4, b"?")
    began = transfer.now
    asked = [transfer.now - began for _ in range(4000) if quiet(transfer, 0.01)]
    first = ANSWER + ROUND_TRIP
    waits = [after - before for before, after in pairwise([0.0, *(at for at in asked if at > 0.9 * first)])]
    assert waits == pytest.approx([first * PATIENCE**number for number in range(5)], rel=0.2)
    assert transfer.client.quic._ask_at == math.inf  # it is the keepalive's time


def test_a_client_that_has_heard_no_data_does_not_ask() -> None:
    """A connection without streams stays silent until its keepalive."""
    transfer = Transfer(Link(1, delay=0.01), size=1, upload=True)
    transfer.handshake(limit=10.0)
    transfer.wait(0.2)
    assert quiet(transfer, 20.0) == 0
    assert transfer.client.quic._ask_at == math.inf


def test_a_server_does_not_ask() -> None:
    """A server's address does not change: it waits."""
    transfer = Transfer(Link(1, delay=0.01), size=10_000, upload=True)
    transfer.run(limit=10.0)
    assert transfer.server.quic._ask_at == math.inf


def test_a_download_goes_on_after_a_rebinding() -> None:
    """A client that only listens is found long before its keepalive, whatever it has acknowledged just before."""
    for step in range(24):
        late = BEGIN + 0.1 + 0.0005 * step  # half of these moments leave it nothing to say
        transfer = settled(Link(1, delay=ROUND_TRIP / 2, rate=8e6, queue=64, rebind=late, rebindings=1))
        assert transfer.run(limit=60.0) < BEGIN + 1.0
        assert transfer.rebindings == 1


def test_aioquic_has_the_methods() -> None:
    """What is overridden exists in the base class with the same arguments."""
    arguments = {
        "get_timer": ["self"],
        "handle_timer": ["self", "now"],
        "_handle_stream_frame": ["self", "context", "frame_type", "buf"],
    }
    for name, expected in arguments.items():
        assert list(signature(getattr(QuicConnection, name)).parameters) == expected
        assert getattr(AskAfterSilence, name) is not getattr(QuicConnection, name)
    assert issubclass(AuthenticatedConnection, AskAfterSilence)


def test_aioquic_hands_stream_frames_to_the_method() -> None:
    """The table of frame handlers is built from the object's own methods."""
    transfer = Transfer(Link(1, delay=0.01), size=10_000, upload=False)
    transfer.run(limit=10.0)
    assert transfer.client.quic._ask_at < math.inf
