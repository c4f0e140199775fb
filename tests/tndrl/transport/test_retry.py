"""Tokens of Retry packets: for one address, one connection, some seconds, and once (QUIC-03)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import QuicHeader, QuicPacketType, get_retry_integrity_tag, pull_quic_header

from tndrl.transport import retry
from tndrl.transport.retry import RetryTokens

ADDRESS = ("192.0.2.1", 4433)
V1, V2 = 1, 0x6B3343CF


def first(version: int = V1) -> QuicHeader:
    """Return the header of a client's first packet."""
    return QuicHeader(version, QuicPacketType.INITIAL, 1200, b"original", b"client's", b"", b"", [])


def again(tokens: RetryTokens, now: float = 1.0) -> QuicHeader:
    """Return the header of the packet that follows a Retry."""
    packet = pull_quic_header(Buffer(data=tokens.retry(first(), ADDRESS, now)))
    return replace(first(), destination_cid=packet.source_cid, token=packet.token)


@pytest.mark.parametrize("version", [V1, V2])
def test_a_client_can_check_the_retry(version: int) -> None:
    """Its integrity tag is that of its version and of the client's own connection ID (RFC 9001 section 5.8)."""
    data = RetryTokens().retry(first(version), ADDRESS, 1.0)
    packet = pull_quic_header(Buffer(data=data))
    assert (packet.packet_type, packet.version) == (QuicPacketType.RETRY, version)
    assert packet.integrity_tag == get_retry_integrity_tag(data[:-16], b"original", version)
    assert packet.destination_cid == b"client's"
    assert packet.source_cid not in (b"original", b"client's")
    assert len(data) < 1200


def test_a_token_tells_the_first_connection_id() -> None:
    """Who comes back with a token is known by the connection ID that it chose at first."""
    tokens = RetryTokens()
    header = again(tokens)
    assert tokens.original(header, ADDRESS, 1.1) == b"original"
    assert tokens.original(header, ADDRESS, 30.9) == b"original"


@pytest.mark.parametrize(
    ("changes", "address", "now"),
    [
        ({}, ADDRESS, 31.1),
        ({}, ("192.0.2.2", 4433), 1.1),
        ({}, ("192.0.2.1", 4434), 1.1),
        ({"destination_cid": b"another's"}, ADDRESS, 1.1),
        ({"token": b"short"}, ADDRESS, 1.1),
        ({"token": bytes(80)}, ADDRESS, 1.1),
    ],
    ids=["expired", "other address", "other port", "other connection", "short", "forged"],
)
def test_a_bad_token(changes: dict, address: tuple, now: float) -> None:
    """A token that is too old, somebody else's or nobody's proves nothing."""
    tokens = RetryTokens()
    assert tokens.original(replace(again(tokens), **changes), address, now) is None


def test_a_token_of_another_process_is_none() -> None:
    """Each process has a key of its own."""
    assert RetryTokens().original(again(RetryTokens()), ADDRESS, 1.1) is None


def test_a_token_is_taken_once() -> None:
    """Played again, a token that began a handshake begins no other."""
    tokens = RetryTokens()
    one, two = again(tokens), again(tokens)
    tokens.spend(one, 1.2)
    assert tokens.original(one, ADDRESS, 1.3) is None
    assert tokens.original(two, ADDRESS, 1.3) == b"original"


def test_spent_tokens_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are remembered than can still be valid, and never more than a fixed number."""
    monkeypatch.setattr(retry, "SPENT", 3)
    tokens = RetryTokens()
    for now in (1.0, 2.0, 3.0, 4.0):
        tokens.spend(again(tokens), now)
    assert len(tokens._spent) == 3
    tokens.spend(again(tokens), 33.5)
    assert len(tokens._spent) == 2
