"""Stateless resets: their tokens and sizes, and who gets them (RFC 9000 section 10.3)."""

from __future__ import annotations

import pytest

from tndrl.transport.stateless_reset import (
    LARGEST,
    PER_ADDRESS,
    SMALLEST,
    TOKEN_SIZE,
    ResetKey,
    StatelessResets,
    token_of,
)

CID = b"12345678"


def test_a_key_makes_the_same_token_again() -> None:
    """Token and key outlive the process; other keys and other connection IDs have other tokens."""
    key = ResetKey(b"k" * 32)
    assert key.token(CID) == ResetKey(b"k" * 32).token(CID)
    assert len(key.token(CID)) == TOKEN_SIZE
    assert len({key.token(CID), key.token(b"other"), ResetKey().token(CID), ResetKey().token(CID)}) == 4


@pytest.mark.parametrize("size", [22, 23, 43, 44, 1200, 65507])
def test_a_reset_looks_like_a_packet_and_is_smaller(size: int) -> None:
    """It has a short header, the token at its end, random bytes between, and fewer bytes than what it answers."""
    key = ResetKey()
    one, two = (StatelessResets(key).answer(CID, size, "192.0.2.1", 1.0) for _ in range(2))
    assert one is not None
    assert SMALLEST <= len(one) < size
    assert len(one) <= LARGEST
    assert one[0] & 0xC0 == 0x40
    assert token_of(one) == key.token(CID)
    assert one != two


@pytest.mark.parametrize("size", [0, 1, 9, SMALLEST])
def test_a_packet_too_small_gets_none(size: int) -> None:
    """Nothing is answered by something larger: two nodes that reset each other fall silent."""
    assert StatelessResets(ResetKey()).answer(CID, size, "192.0.2.1", 1.0) is None


def test_two_nodes_that_reset_each_other_fall_silent() -> None:
    """A reset may be answered by a reset, but not for ever."""
    ends = [StatelessResets(ResetKey()) for _ in range(2)]
    packet, answers = bytes(1200), 0
    while (answer := ends[answers % 2].answer(CID, len(packet), "192.0.2.1", float(answers))) is not None:
        packet, answers = answer, answers + 1
    assert answers == LARGEST - SMALLEST + 1


def test_an_address_gets_so_many_in_a_second() -> None:
    """Who asks too often gets none; others and later ones do."""
    resets = StatelessResets(ResetKey())
    assert all(resets.answer(CID, 50, "192.0.2.1", 1.0) for _ in range(PER_ADDRESS))
    assert resets.answer(CID, 50, "192.0.2.1", 1.5) is None
    assert resets.answer(CID, 50, "192.0.2.2", 1.5) is not None
    assert resets.answer(CID, 50, "192.0.2.1", 2.0) is not None


def test_a_datagram_too_small_is_no_reset() -> None:
    """Fewer bytes than the smallest reset carry no token."""
    assert token_of(bytes(SMALLEST - 1)) is None
    assert token_of(bytes(SMALLEST)) == bytes(TOKEN_SIZE)
