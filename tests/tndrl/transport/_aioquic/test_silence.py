"""A client that hears no more of a stream asks once."""

from __future__ import annotations

import math
from inspect import signature

from aioquic.quic.connection import QuicConnection

from support.link import Direction, Link
from support.virtual import Transfer
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.silence import SILENCE, AskAfterSilence

TO_NODE = Direction.TO_NODE


def quiet(transfer: Transfer, seconds: float) -> int:
    """Return how many datagrams a client sends in a span of time in which nothing happens."""
    before = transfer.link.lines[TO_NODE].counts["sent"]
    transfer.wait(seconds)
    return transfer.link.lines[TO_NODE].counts["sent"] - before


def test_a_client_asks_once_after_the_last_data() -> None:
    """One PING follows when a stream has been silent for its time, and none after its acknowledgement."""
    transfer = Transfer(Link(1, delay=0.01), size=10_000, upload=False)
    transfer.run(limit=10.0)
    assert quiet(transfer, 0.9 * SILENCE) <= 1  # the acknowledgement of the last bytes
    assert quiet(transfer, 0.2 * SILENCE) == 1
    assert quiet(transfer, 20.0) == 0


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
        late = 0.2 + 0.0005 * step  # a sixth of these moments leaves it nothing to say
        link = Link(1, delay=0.01, rate=8e6, queue=64, rebind=late, rebindings=1)
        transfer = Transfer(link, size=300_000, upload=False)
        assert transfer.run(limit=60.0) < 4.0
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
