"""Probes that outlast a bad link: how many, how often, and of what."""

from __future__ import annotations

from inspect import signature
from itertools import pairwise

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketRecovery

from support.link import Link
from support.virtual import NODE, StuckError, Transfer, connection
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.probes import LONGEST_SHARE, PersistentProbes
from tndrl.transport.quic_settings import QuicSettings


def unanswered(idle_timeout: float) -> list[tuple[float, int]]:
    """Return when a client that hears nothing sends, and how many datagrams, until it gives up."""
    quic = connection(is_client=True, settings=QuicSettings(idle_timeout=idle_timeout))
    now, sent = 0.0, []
    quic.connect(NODE, now=now)
    while not quic.is_terminated:
        if datagrams := quic.datagrams_to_send(now=now):
            sent.append((now, len(datagrams)))
        now = quic.get_timer()
        quic.handle_timer(now=now)
    return sent


def test_a_probe_timeout_sends_two_datagrams() -> None:
    """The first flight is one datagram, and each probe two (RFC 9002 section 6.2.4)."""
    assert {count for _, count in unanswered(60.0)[1:]} == {2}


def test_the_waits_double_up_to_a_share_of_the_idle_timeout() -> None:
    """Silence is broken often enough before it ends the connection."""
    times = [at for at, _ in unanswered(60.0)]
    waits = [round(after - before, 3) for before, after in pairwise(times)]
    assert waits[:5] == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert max(waits) <= 60.0 / LONGEST_SHARE
    assert len(waits) > 16


def test_a_brief_idle_timeout_leaves_one_doubling() -> None:
    """Where the share is less than the round trip allows, the wait still doubles once."""
    times = [at for at, _ in unanswered(1.0)]
    assert [round(at, 3) for at in times] == [0.0, 0.2, 0.6, 1.0][: len(times)]
    assert len(times) >= 3


def test_a_server_that_has_forgotten_its_handshake_keys_is_reached() -> None:
    """A client whose address changes while it waits for HANDSHAKE_DONE gets it: its probes are 1-RTT packets too."""
    transfer = Transfer(Link(1, delay=0.02, rebind=0.05, rebindings=1), size=1, upload=True)
    assert transfer.handshake(limit=60.0) < 1.0
    assert transfer.rebindings == 1


def test_a_transfer_survives_a_third_of_loss() -> None:
    """Neither one loss after another nor the idle timeout ends a connection over a link that passes most."""
    for seed in range(4):
        link = Link(seed, loss=0.3, burst=3, delay=0.015, rate=10e6, queue=25)
        Transfer(link, size=200_000, upload=seed % 2 == 0).run(limit=300.0)


def test_silence_still_ends_a_connection() -> None:
    """Probes that nobody answers keep nothing alive (RFC 9000 section 10.1)."""
    transfer = Transfer(Link(1, delay=0.01), size=100_000, upload=True)
    transfer.handshake(limit=1.0)
    transfer.link.darken(1e9)
    with pytest.raises(StuckError, match="Idle timeout"):
        transfer.run(limit=70.0)


# What aioquic must still have


def test_aioquic_has_the_methods() -> None:
    """What is overridden or called has the arguments it had."""
    for name in ("handle_timer", "datagrams_to_send"):
        assert list(signature(getattr(QuicConnection, name)).parameters) == ["self", "now"]
        assert getattr(PersistentProbes, name) is not getattr(QuicConnection, name)
    assert issubclass(AuthenticatedConnection, PersistentProbes)
    assert list(signature(QuicConnection._idle_timeout).parameters) == ["self"]
    parameters = signature(QuicPacketRecovery.reschedule_data).parameters
    assert list(parameters) == ["self", "now", "speed_up_handshake"]
    assert signature(QuicPacketRecovery.get_probe_timeout).parameters["include_max_ack_delay"].default is True


def test_aioquic_has_the_state() -> None:
    """What is read or set is there: a count of timeouts that doubles the wait, and the handshake's two ends."""
    quic = connection(is_client=True, settings=QuicSettings())
    recovery = quic._loss
    quic.connect(NODE, now=0.0)
    quic.datagrams_to_send(now=0.0)
    assert (quic._handshake_complete, quic._handshake_confirmed) == (False, False)
    wait = recovery.get_loss_detection_time(amplification_limited=False)
    recovery._pto_count = 3
    assert recovery.get_loss_detection_time(amplification_limited=False) == wait * 8
