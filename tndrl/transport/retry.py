"""Retry (RFC 9000 section 8.1.2): a client proves that it is where it says, before a node remembers anything of it."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict

from aioquic.quic.packet import QuicHeader, encode_quic_retry
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tndrl.transport.udp import Address

CONNECTION_ID_LENGTH = 8

NONCE_LENGTH = 12

TOKEN_LIFETIME = 30.0
"""Seconds in which a token is good. A client that lives sends it back at once."""

SPENT = 16384
"""Tokens that are remembered as spent; each is forgotten when it would no longer be valid."""


class RetryTokens:
    """Makes tokens for one address and a few seconds each, and takes each of them once (RFC 9000 section 8.1.4)."""

    def __init__(self) -> None:
        self._aead = AESGCM(AESGCM.generate_key(bit_length=128))
        # By the connection ID that a Retry gave, with its time.
        self._spent: OrderedDict[bytes, float] = OrderedDict()

    def retry(self, header: QuicHeader, address: Address, now: float) -> bytes:
        """Return the Retry packet that answers an Initial packet."""
        source = os.urandom(CONNECTION_ID_LENGTH)
        assert header.version is not None
        return encode_quic_retry(
            version=header.version,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._token(header.destination_cid, _holder(address, source), now),
        )

    def original(self, header: QuicHeader, address: Address, now: float) -> bytes | None:
        """Return the connection ID that the client chose before it got the token of ``header``.

        None if the token is not ours, too old, of another address or connection, or was taken before.
        """
        if header.destination_cid in self._spent:
            return None
        nonce, sealed = header.token[:NONCE_LENGTH], header.token[NONCE_LENGTH:]
        if len(nonce) < NONCE_LENGTH:
            return None
        try:
            content = self._aead.decrypt(nonce, sealed, _holder(address, header.destination_cid))
        except InvalidTag:
            return None
        issued, original = _ISSUED.unpack_from(content)[0], content[_ISSUED.size :]
        return original if now - issued <= TOKEN_LIFETIME else None

    def spend(self, header: QuicHeader, now: float) -> None:
        """Take the token of ``header`` no more."""
        self._spent[header.destination_cid] = now
        while len(self._spent) > SPENT or next(iter(self._spent.values())) < now - TOKEN_LIFETIME:
            self._spent.popitem(last=False)

    def _token(self, original: bytes, holder: bytes, now: float) -> bytes:
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, _ISSUED.pack(now) + original, holder)


_ISSUED = struct.Struct("!d")


def _holder(address: Address, source: bytes) -> bytes:
    """Return whose token it is: only from this address, and with the connection ID that the Retry gave, is it one."""
    return f"{address[0]} {address[1]} ".encode() + source
