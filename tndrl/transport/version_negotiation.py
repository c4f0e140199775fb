"""Version Negotiation (RFC 9000 section 6), from what all versions of QUIC have in common (RFC 8999).

A node answers packets of versions it does not speak, and acts on no answer of that kind: every node speaks version 1,
so whoever says otherwise has forged it.
"""

from __future__ import annotations

from collections.abc import Sequence

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_version_negotiation

VERSIONS = (int(QuicProtocolVersion.VERSION_1), int(QuicProtocolVersion.VERSION_2))
"""The versions that nodes speak, the one they offer first."""


def version_of(datagram: bytes) -> int:
    """Return the version in a long header, 0 where the datagram is too short for one, as in Version Negotiation."""
    return int.from_bytes(datagram[1:5], "big") if len(datagram) >= 5 else 0


def destination_of(datagram: bytes) -> bytes:
    """Return the destination connection ID in a long header, or what there is of it."""
    return datagram[6 : 6 + datagram[5]] if len(datagram) > 5 else b""


def negotiate(datagram: bytes, versions: Sequence[int] = VERSIONS) -> bytes | None:
    """Return the answer to a datagram with a long header of another version than ours, None if it gets none.

    A datagram under 1,200 bytes gets none, so that no answer is larger than what it answers (section 6.1).
    """
    if len(datagram) < SMALLEST_MAX_DATAGRAM_SIZE:
        return None
    destination, rest = _opaque(datagram[5:])
    source, _ = _opaque(rest)
    return encode_quic_version_negotiation(
        source_cid=destination, destination_cid=source, supported_versions=list(versions)
    )


def _opaque(data: bytes) -> tuple[bytes, bytes]:
    """Take bytes that begin with their length, which other versions let go up to 255."""
    end = 1 + data[0]
    return data[1:end], data[end:]
