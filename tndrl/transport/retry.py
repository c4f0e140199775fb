"""Retry (RFC 9000 section 8.1.2): a client proves that it is where it says, before a node remembers anything of it."""

from __future__ import annotations

import os
from collections import OrderedDict

from aioquic.quic.packet import QuicHeader, encode_quic_retry
from aioquic.quic.retry import TOKEN_LIFETIME, QuicRetryTokenHandler

from tndrl.transport.udp import Address

CONNECTION_ID_LENGTH = 8

SPENT = 16384
"""Tokens that are remembered as spent; each is forgotten when it would no longer be valid."""


class RetryTokens:
    """Makes tokens for one address and a few seconds each, and takes each of them once (RFC 9000 section 8.1.4)."""

    def __init__(self) -> None:
        self._tokens = QuicRetryTokenHandler()
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
            retry_token=self._tokens.create_token(
                address=address,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source,
                now=now,
            ),
        )

    def original(self, header: QuicHeader, address: Address, now: float) -> bytes | None:
        """Return the connection ID that the client chose before it got the token of ``header``.

        None if the token is not ours, too old, of another address or connection, or was taken before.
        """
        if header.destination_cid in self._spent:
            return None
        try:
            return self._tokens.validate_token(
                address=address, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            return None

    def spend(self, header: QuicHeader, now: float) -> None:
        """Take the token of ``header`` no more."""
        self._spent[header.destination_cid] = now
        while len(self._spent) > SPENT or next(iter(self._spent.values())) < now - TOKEN_LIFETIME:
            self._spent.popitem(last=False)
