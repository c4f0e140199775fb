"""Who may begin a handshake, by what is under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import QuicHeader, QuicPacketType, pull_quic_header

from tndrl.config import LimitsConfig
from tndrl.transport import admission
from tndrl.transport.admission import Accept, Admission, Answer, Drop, HalfOpen

NOW = 100.0


def first(destination: bytes = b"original") -> QuicHeader:
    """Return the header of a client's first packet."""
    return QuicHeader(1, QuicPacketType.INITIAL, 1200, destination, b"client's", b"", b"", [])


def at(number: int) -> tuple[str, int]:
    """Return one of many addresses."""
    return (f"192.0.2.{number}", 4433)


def door(**limits: int) -> Admission[str]:
    """Return an admission with these limits."""
    return Admission(LimitsConfig(**limits), NOW)


def proved(it: Admission[str], address: tuple[str, int]) -> QuicHeader:
    """Return the header of a packet that has a token for ``address``."""
    packet = pull_quic_header(Buffer(data=it._tokens.retry(first(), address, NOW)))
    return replace(first(), destination_cid=packet.source_cid, token=packet.token)


def test_a_quiet_node_takes_a_client_at_once() -> None:
    """Without a Retry the client's own connection ID is the original one."""
    assert door().decide(first(), at(1), NOW) == Accept(b"original")


def test_a_short_connection_id_is_dropped() -> None:
    """A client's first connection ID has at least 8 bytes (RFC 9000 section 7.2)."""
    assert door().decide(first(b"7 bytes"), at(1), NOW) == Drop("initials_malformed")


def test_many_handshakes_ask_for_a_token() -> None:
    """From so many handshakes on a client is answered by a Retry, and is taken with its token."""
    it = door(retry_above=2)
    for name in ("a", "b"):
        assert isinstance(it.decide(first(), at(1), NOW), Accept)
        it.began(name, "192.0.2.1")
    answer = it.decide(first(), at(2), NOW)
    assert isinstance(answer, Answer)
    assert answer.counter == "retries_sent"
    header = proved(it, at(2))
    assert it.decide(header, at(2), NOW) == Accept(b"original", header.destination_cid)
    it.confirmed("a")
    assert isinstance(it.decide(first(), at(2), NOW), Accept)


def test_a_bad_token_is_refused() -> None:
    """A client that comes with a bad token is told so, in one packet (RFC 9000 section 8.1.2)."""
    it = door()
    answer = it.decide(proved(it, at(1)), at(2), NOW)
    assert isinstance(answer, Answer)
    assert answer.counter == "initials_refused.invalid_token"


def test_a_token_begins_one_handshake() -> None:
    """The same packet later, when its connection is gone, begins nothing."""
    it = door()
    header = proved(it, at(1))
    assert isinstance(it.decide(header, at(1), NOW), Accept)
    assert isinstance(it.decide(header, at(1), NOW), Answer)


def test_a_token_that_found_no_room_is_kept() -> None:
    """A client that was dropped may come again with the token it has."""
    it = door(half_open=1)
    it.began("a", "192.0.2.1")
    header = proved(it, at(1))
    assert it.decide(header, at(1), NOW) == Drop("handshakes_too_many")
    it.confirmed("a")
    assert isinstance(it.decide(header, at(1), NOW), Accept)


def test_an_address_begins_so_many_in_a_second() -> None:
    """Above it a client must prove its address; one that has is dropped, and may come a little later."""
    it = door(handshakes_per_second=2)
    kinds = [type(it.decide(first(), at(1), NOW)) for _ in range(3)]
    assert kinds == [Accept, Accept, Answer]
    kinds = [type(it.decide(proved(it, at(1)), at(1), NOW)) for _ in range(3)]
    assert kinds == [Accept, Accept, Drop]
    assert isinstance(it.decide(first(), at(2), NOW), Accept)
    assert isinstance(it.decide(proved(it, at(1)), at(1), NOW + 1), Accept)


def test_so_many_connections_in_all() -> None:
    """A full node says which limit it has reached; one that ended makes room."""
    it = door(connections=1)
    it.began("a", "192.0.2.1")
    it.confirmed("a")
    answer = it.decide(first(), at(2), NOW)
    assert isinstance(answer, Answer)
    assert answer.counter == "initials_refused.connection_refused"
    it.ended("a")
    assert isinstance(it.decide(first(), at(2), NOW), Accept)


def test_refusals_are_few() -> None:
    """A refusal costs a key: only so many are answered, the others dropped."""
    it = door(connections=1)
    it.began("a", "192.0.2.1")
    kinds = [type(it.decide(first(), at(number % 250), NOW)) for number in range(admission.REFUSALS + 1)]
    assert kinds == [Answer] * admission.REFUSALS + [Drop]


def test_who_has_most_makes_room() -> None:
    """At the limit the oldest handshake of the host with most of them ends for one of another host."""
    it = door(half_open=3, retry_above=100)
    for name, number in (("a", 1), ("b", 2), ("c", 2)):
        it.began(name, at(number)[0])
    accepted = it.decide(first(), at(3), NOW)
    assert isinstance(accepted, Accept)
    assert accepted.instead_of == "b"
    assert it.decide(first(), at(2), NOW) == Drop("handshakes_too_many")
    it.ended("b")
    assert it.half_open == 2


def test_half_open_counts_each_host() -> None:
    """What comes and goes leaves no count behind."""
    table: HalfOpen[str] = HalfOpen(2)
    table.add("a", "one")
    table.add("b", "one")
    assert table.is_full
    assert table.most_dispensable("two") == "a"
    for name in ("a", "b", "b"):
        table.discard(name)
    assert (len(table), len(table._count)) == (0, 0)


@pytest.mark.parametrize("number", [1, 250])
def test_a_flood_of_addresses_takes_the_place_of_the_oldest(number: int) -> None:
    """Where every host has one handshake, a new one ends the oldest."""
    it = door(half_open=2, retry_above=100)
    it.began("a", "198.51.100.1")
    it.began("b", "198.51.100.2")
    accepted = it.decide(first(), at(number), NOW)
    assert isinstance(accepted, Accept)
    assert accepted.instead_of == "a"
