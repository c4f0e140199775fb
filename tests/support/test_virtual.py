"""Transfers in virtual time: exact, repeatable, and never waiting for what cannot come."""

from __future__ import annotations

import pytest

from support.link import Direction, Faults, Link, source_host
from support.virtual import StuckError, Transfer


@pytest.mark.parametrize("upload", [True, False])
def test_a_transfer_takes_the_time_of_the_link(upload: bool) -> None:
    """A megabyte at 8 Mbit/s takes a second and the round trips of the beginning, in far less of ours."""
    took = Transfer(Link(1, delay=0.01, rate=8e6, queue=64), size=1_000_000, upload=upload).run(limit=60.0)
    assert 1.0 < took < 1.5


def test_a_handshake_takes_two_round_trips() -> None:
    """The client is confirmed after two of them, one of which is the server's certificate."""
    assert Transfer(Link(1, delay=0.5), size=1, upload=True).handshake(limit=60.0) == pytest.approx(
        2.0, abs=0.01
    )


def test_a_dead_link_is_noticed() -> None:
    """What cannot complete ends at its limit, or with its connection, and says how far it came."""
    with pytest.raises(StuckError, match=r"nothing more before 30\.0 s.*received \[0\] of 1000"):
        Transfer(Link(1, loss=1.0), size=1000, upload=True).run(limit=30.0)
    link = Link(1, delay=0.01, rate=1e6)
    transfer = Transfer(link, size=1_000_000, upload=True)
    transfer.handshake(limit=1.0)
    link.darken(1e9)
    with pytest.raises(StuckError, match="Idle timeout"):
        transfer.run(limit=1000.0)


def test_rebinding_loses_what_was_sent_to_the_old_address() -> None:
    """The client's address changes at its time, and the transfer notices."""
    link = Link(1, delay=0.01, rate=8e6, queue=64, rebind=0.5)
    transfer = Transfer(link, size=1_000_000, upload=False)
    took = transfer.run(limit=60.0)
    assert transfer.rebindings == int(took / 0.5)
    assert transfer.source()[0] == source_host(transfer.rebindings)


def test_one_way_faults() -> None:
    """A link that is dead one way lets nothing begin."""
    link = Link(1, to_client=Faults(loss=1.0))
    with pytest.raises(StuckError):
        Transfer(link, size=1, upload=True).handshake(limit=30.0)
    assert link.lines[Direction.TO_NODE].counts["delivered"] > 1
