"""A peer at a new address: what was on its way, and what is known of the way."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketRecovery

from support.link import Link
from support.virtual import Transfer
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.new_path import NewPath


@pytest.mark.parametrize("step", [2, 5])
def test_rebinding_within_every_window(step: int) -> None:
    """Where no address lasts longer than half a second, a download still goes on, and not by probes alone."""
    link = Link(step, delay=0.005 + 0.003 * step, rate=8e6, queue=64, rebind=0.5 + 0.037 * step)
    transfer = Transfer(link, size=2_000_000, upload=False)
    transfer.run(limit=8.0)
    assert transfer.rebindings >= 3


def test_what_was_on_its_way_is_given_up() -> None:
    """A server that hears from a new address has its window free at once, and no congestion to blame."""
    link = Link(1, delay=0.05, rate=8e6, queue=64, rebind=1.0, rebindings=1)
    transfer = Transfer(link, size=4_000_000, upload=False)
    transfer.begin()
    transfer.wait(0.9)
    server = transfer.server.quic
    old, window = server.get_peer_address(), server._loss.congestion_window
    while server.get_peer_address() == old:
        assert server._loss.bytes_in_flight > window // 2
        transfer.wait(0.01)
    assert server._loss.bytes_in_flight < window // 10
    assert server._loss.congestion_window >= window


def moving(moves: int, delay: float) -> Transfer:
    """Return a download whose client moves at second 1, ``moves`` times, to where the way takes ``delay``."""
    transfer = Transfer(
        Link(1, delay=0.05, rate=8e6, queue=1000, rebind=1.0 / moves, rebindings=moves),
        size=4_000_000,
        upload=False,
    )
    transfer.begin()
    transfer.wait(0.99)
    transfer.link.lines = Link(1, delay=delay, rate=8e6, queue=1000).lines
    transfer.wait(3.0)
    return transfer


def test_another_port_is_the_same_way() -> None:
    """Round trips and congestion of a client whose port alone changes stay known (RFC 9000 section 9.4)."""
    recovery = moving(1, delay=0.2).server.quic._loss
    assert recovery._rtt_min == pytest.approx(0.1, abs=0.01)


def test_another_host_is_measured_anew() -> None:
    """What was known of the way to the old host says nothing of the way to the new one."""
    recovery = moving(2, delay=0.2).server.quic._loss
    assert recovery._rtt_min == pytest.approx(0.4, abs=0.01)


def test_the_new_address_is_validated() -> None:
    """After two moves the server sends to where the client is, without a limit."""
    transfer = moving(2, delay=0.05)
    server = transfer.server.quic
    assert server.get_peer_address() == transfer.source() == ("127.0.0.2", 40002)
    assert server._network_paths[0].is_validated


# What aioquic must still have


def test_aioquic_has_the_methods() -> None:
    """What is overridden or called has the arguments it had."""
    arguments = {
        "receive_datagram": ["self", "data", "addr", "now"],
        "handle_timer": ["self", "now"],
        "_handle_path_response_frame": ["self", "context", "frame_type", "buf"],
    }
    for name, expected in arguments.items():
        assert list(signature(getattr(QuicConnection, name)).parameters) == expected
        assert getattr(NewPath, name) is not getattr(QuicConnection, name)
    assert issubclass(AuthenticatedConnection, NewPath)
    lost = list(signature(QuicPacketRecovery._on_packets_lost).parameters)
    assert lost == ["self", "congestion_event", "now", "packets", "persistent_congestion", "space"]
