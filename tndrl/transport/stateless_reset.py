"""Stateless resets (RFC 9000 section 10.3): how a node that was killed tells its peers that it knows them no more.

The token of a connection ID is an HMAC of it, so that a key on disk is all that has to outlive a crash.
"""

from __future__ import annotations

import hmac
import os

from tndrl.transport.address_rate import AddressRate

KEY_SIZE = 32
"""Bytes of a key."""

TOKEN_SIZE = 16
"""Bytes of a token (RFC 9000 section 10.3)."""

SMALLEST = 5 + TOKEN_SIZE
"""Bytes of the smallest reset that looks like a packet (RFC 9000 section 10.3)."""

LARGEST = 43
"""Bytes of a reset that answers a large packet: it need not be longer to look like any other."""

PER_ADDRESS = 10
"""Resets that one address gets in a second: a peer needs one for each of its connections."""


class ResetKey:
    """Makes the stateless reset token of each connection ID. Without ``secret`` it forgets them with the process."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or os.urandom(KEY_SIZE)

    def token(self, connection_id: bytes) -> bytes:
        """Return the token of a connection ID (RFC 9000 section 10.3.2)."""
        return hmac.digest(self._secret, connection_id, "sha256")[:TOKEN_SIZE]


class StatelessResets:
    """Answers packets of connections that are not known. Never larger than what it answers, so it cannot loop."""

    def __init__(self, key: ResetKey) -> None:
        self._key = key
        self._rate = AddressRate(PER_ADDRESS)

    def answer(self, connection_id: bytes, size: int, host: str, now: float) -> bytes | None:
        """Return the reset that answers a packet of ``size`` bytes from ``host``, None if it gets none.

        A packet too small to be answered by a smaller reset gets none, nor does who asks too often.
        """
        if size <= SMALLEST or not self._rate.allows(host, now):
            return None
        filler = bytearray(os.urandom(min(size - 1, LARGEST) - TOKEN_SIZE))
        filler[0] = filler[0] & 0x3F | 0x40  # a short header with the fixed bit
        return bytes(filler) + self._key.token(connection_id)


def token_of(datagram: bytes) -> bytes | None:
    """Return the token that a datagram carries if it is a stateless reset, None if it cannot be one."""
    return datagram[-TOKEN_SIZE:] if len(datagram) >= SMALLEST else None
