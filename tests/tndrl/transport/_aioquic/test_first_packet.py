"""Junk is told from a client's first packet before anything is made for it."""

from __future__ import annotations

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import pull_quic_header

from rogue.connection import RogueConnection
from rogue.script import Script
from tndrl.transport._aioquic.first_packet import is_authentic


def first_packet(version: int) -> bytes:
    """Return the first datagram of a client."""
    client = RogueConnection(Script(version=version))
    client.connect(("192.0.2.1", 4433), 0.0)
    ((data, _address),) = client.datagrams_to_send(0.0)
    return data


def is_one(data: bytes) -> bool:
    """Return what is said of a datagram."""
    buffer = Buffer(data=data)
    return is_authentic(pull_quic_header(buffer), data, buffer.tell())


@pytest.mark.parametrize("version", [1, 0x6B3343CF])
def test_a_clients_packet_is_one(version: int) -> None:
    """In either version, alone or with something behind it."""
    assert is_one(first_packet(version))
    assert is_one(first_packet(version) + b"behind")


@pytest.mark.parametrize("at", [6, 30, 100, 200])
def test_a_bit_makes_it_junk(at: int) -> None:
    """Whatever is changed of its connection ID, its header or its payload, its own keys open it no more."""
    data = bytearray(first_packet(1))
    data[at] ^= 1
    assert not is_one(bytes(data))


def test_a_packet_too_short_is_junk() -> None:
    """One with nothing to open is none."""
    assert not is_one(b"\xc3\0\0\0\x01\x08original\x08client's\0\x01x")
