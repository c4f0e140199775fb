"""Handshake messages cut and made up."""

from __future__ import annotations

from aioquic.tls import Epoch, HandshakeType

from rogue import messages

FINISHED = (Epoch.HANDSHAKE, messages.NO_FINISHED)
EMPTY = (Epoch.HANDSHAKE, messages.EMPTY_CERTIFICATE)


def test_split_finds_the_messages() -> None:
    """Messages put one after another are found again."""
    parts = [messages.KEY_UPDATE, messages.UNKNOWN, messages.END_OF_EARLY_DATA]
    assert messages.split(b"".join(parts)) == parts


def test_certificate_without_a_chain_is_the_empty_one() -> None:
    """An empty chain makes the message with which a client says that it has no certificate."""
    assert messages.certificate([]) == messages.EMPTY_CERTIFICATE


def test_twice_and_first_and_without() -> None:
    """The arrangements do what they say and keep the rest in order."""
    kind = HandshakeType.FINISHED
    assert messages.twice(kind)([EMPTY, FINISHED]) == [EMPTY, FINISHED, FINISHED]
    assert messages.first(kind)([EMPTY, FINISHED]) == [FINISHED, EMPTY]
    assert messages.without(kind)([EMPTY, FINISHED]) == [EMPTY]


def test_before_inserts_at_the_same_level() -> None:
    """What is inserted goes out at the level of the message it stands before."""
    inserted = messages.before(HandshakeType.FINISHED, messages.KEY_UPDATE)([EMPTY, FINISHED])
    assert inserted == [EMPTY, (Epoch.HANDSHAKE, messages.KEY_UPDATE), FINISHED]


def test_moved_changes_the_level_only() -> None:
    """A moved message keeps its place."""
    moved = messages.moved(HandshakeType.CERTIFICATE, Epoch.INITIAL)([EMPTY, FINISHED])
    assert moved == [(Epoch.INITIAL, messages.EMPTY_CERTIFICATE), FINISHED]


def test_begun_early_cuts_a_message_in_two() -> None:
    """The begin goes out in Initial packets, the rest where it belongs."""
    early, late, _ = messages.begun_early(HandshakeType.CERTIFICATE, 3)([EMPTY, FINISHED])
    assert early == (Epoch.INITIAL, messages.EMPTY_CERTIFICATE[:3])
    assert late == (Epoch.HANDSHAKE, messages.EMPTY_CERTIFICATE[3:])
