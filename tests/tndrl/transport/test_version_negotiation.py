"""Version Negotiation, made of what all versions of QUIC have in common."""

from __future__ import annotations

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from tndrl.transport.version_negotiation import VERSIONS, negotiate, version_of

UNKNOWN = b"\xff\x1a\x2a\x3a\x4a"


def datagram(destination: bytes, source: bytes, size: int = 1200) -> bytes:
    """Return a datagram of an unknown version, which has nothing to say after its connection IDs."""
    head = UNKNOWN + bytes([len(destination)]) + destination + bytes([len(source)]) + source
    return head + bytes(size - len(head))


def test_the_answer_echoes_both_ids() -> None:
    """It names our versions, the offered one first, and swaps the connection IDs (RFC 9000 section 17.2.1)."""
    answer = negotiate(datagram(b"destined", b"source"))
    assert answer is not None
    header = pull_quic_header(Buffer(data=answer))
    assert header.packet_type is QuicPacketType.VERSION_NEGOTIATION
    assert (header.destination_cid, header.source_cid) == (b"source", b"destined")
    assert tuple(header.supported_versions) == VERSIONS == (1, 0x6B3343CF)


@pytest.mark.parametrize("length", [0, 1, 20, 21, 255])
def test_other_versions_may_have_longer_ids(length: int) -> None:
    """IDs of up to 255 bytes are echoed, which version 1 does not know (RFC 8999 section 5.1)."""
    answer = negotiate(datagram(bytes(length), b"s" * length))
    assert answer is not None
    assert answer[5 : 6 + length] == bytes([length]) + b"s" * length
    assert len(answer) < 1200


def test_a_small_datagram_gets_none() -> None:
    """Under 1,200 bytes there is no answer, so none is larger than its question."""
    assert negotiate(datagram(b"destined", b"source", 1199)) is None


def test_the_version_of_too_little_is_none() -> None:
    """A datagram too short for a version has none."""
    assert [version_of(UNKNOWN[:length]) for length in range(5)] == [0] * 5
    assert version_of(UNKNOWN) == 0x1A2A3A4A
