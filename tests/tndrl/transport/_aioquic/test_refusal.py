"""One packet that refuses a connection, as a client reads it."""

from __future__ import annotations

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import pull_quic_header

from rogue.connection import RogueConnection
from rogue.script import Script
from tndrl.transport._aioquic.refusal import refusal

ADDRESS = ("192.0.2.1", 4433)


@pytest.mark.parametrize("version", [1, 0x6B3343CF])
@pytest.mark.parametrize("reason", ["", "all 1024 connections are in use (limits.connections)"])
def test_a_client_understands_it(version: int, reason: str) -> None:
    """A stock client in either version is closed with code and reason, by less than it sent."""
    client = RogueConnection(Script(version=version))
    client.connect(ADDRESS, 0.0)
    ((sent, _address),) = client.datagrams_to_send(0.0)
    answer = refusal(pull_quic_header(Buffer(data=sent)), 0x02, reason)
    assert len(answer) < 200 < len(sent)
    client.receive_datagram(answer, ADDRESS, 0.1)
    assert client.closed is not None
    assert (client.closed.code, client.closed.reason) == (0x02, reason)
