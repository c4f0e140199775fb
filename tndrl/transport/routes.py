"""Which datagram belongs to which session: by connection ID, or by the token of a stateless reset."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


class Routes(Generic[S]):
    """The sessions of an endpoint. Forgetting one costs what it had, not what all have."""

    def __init__(self) -> None:
        self._by_connection_id: dict[bytes, S] = {}
        # Python's hash of bytes is keyed, so a lookup tells nobody how much of a token was right
        # (RFC 9000 section 10.3.1).
        self._by_token: dict[bytes, S] = {}
        self._connection_ids: dict[S, set[bytes]] = {}
        self._token: dict[S, bytes] = {}

    @property
    def sessions(self) -> Collection[S]:
        """Every session that has a connection ID."""
        return self._connection_ids.keys()

    def add(self, connection_id: bytes, session: S) -> None:
        """Route datagrams with this connection ID to ``session``."""
        self._by_connection_id[connection_id] = session
        self._connection_ids.setdefault(session, set()).add(connection_id)

    def remove(self, connection_id: bytes) -> None:
        """Stop routing a retired connection ID."""
        session = self._by_connection_id.pop(connection_id, None)
        if session is not None:
            self._connection_ids[session].discard(connection_id)

    def of(self, connection_id: bytes) -> S | None:
        """Return the session that has this connection ID."""
        return self._by_connection_id.get(connection_id)

    def connection_ids(self, session: S) -> frozenset[bytes]:
        """Return what is routed to ``session``."""
        return frozenset(self._connection_ids.get(session, ()))

    def expect(self, token: bytes, session: S) -> None:
        """Know a reset of ``session`` by this token, and by no other from now on."""
        self._by_token.pop(self._token.get(session, b""), None)
        self._by_token[token] = session
        self._token[session] = token

    def reset_by(self, token: bytes) -> S | None:
        """Return the session whose peer's token this is."""
        return self._by_token.get(token)

    def forget(self, session: S) -> None:
        """Route nothing to ``session`` any more."""
        for connection_id in self._connection_ids.pop(session, ()):
            del self._by_connection_id[connection_id]
        self._by_token.pop(self._token.pop(session, b""), None)
