"""Stateless reset tokens that a restarted node can make again, and those of the peer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.quic.connection import QuicConnection, QuicConnectionId

MakeToken = Callable[[bytes], bytes]
"""Returns the stateless reset token of a connection ID."""


class ResetTokens(QuicConnection):
    """Gives out the tokens of ``make_token`` instead of random ones (RFC 9000 section 10.3)."""

    def __init__(self, *, make_token: MakeToken, **options: Any) -> None:
        super().__init__(**options)
        self._make_token = make_token
        if not self._is_client:  # a client's first connection ID has none (RFC 9000 section 18.2)
            self._give_token(self._host_cids[0])

    @property
    def peer_reset_token(self) -> bytes | None:
        """The token of the peer's connection ID that is in use; None while the peer has given none."""
        return self._peer_cid.stateless_reset_token or None

    def _replenish_connection_ids(self) -> None:
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        for fresh in self._host_cids[known:]:
            self._give_token(fresh)

    def _give_token(self, connection_id: QuicConnectionId) -> None:
        connection_id.stateless_reset_token = self._make_token(connection_id.cid)
