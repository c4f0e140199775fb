"""At most so many connections of one identity, and a way in for a peer whose old ones are dead."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from pki.spiffe import SpiffeId
from tndrl.errors import TndrlError
from tndrl.transport.codes import ErrorCode

ANSWER_TIMEOUT = 1.0
"""Seconds that the longest silent connection has to answer a PING, before another takes its place."""

REPLACED = "it was silent when the same identity connected once more"


class Connection(Hashable, Protocol):
    """What is asked of a session."""

    peer_id: SpiffeId | None
    heard_at: float

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""

    async def ping(self) -> None:
        """Wait for an answer of the peer; raises TndrlError."""

    def close(self, code: int, reason: str) -> None:
        """Close it."""


C = TypeVar("C", bound=Connection)


class IdentityCap(Generic[C]):
    """Counts the connections of each identity."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._members: dict[SpiffeId, set[C]] = {}
        self._doubted: set[C] = set()

    def enter(self, connection: C) -> bool:
        """Count a connection if there is room for it, and return whether there is."""
        assert connection.peer_id is not None
        members = self._members.setdefault(connection.peer_id, set())
        if len(members) < self._most:
            members.add(connection)
            return True
        return False

    def leave(self, connection: C) -> None:
        """It is over. One that was never counted changes nothing."""
        if connection.peer_id in self._members:
            members = self._members[connection.peer_id]
            members.discard(connection)
            if not members:
                del self._members[connection.peer_id]

    async def make_room(self, connection: C) -> bool:
        """Replace the longest silent connection of the same identity, unless it answers; returns whether it did not.

        Each is asked for one newcomer at a time, so that a flood of them asks no more than there are. Safe to cancel.
        """
        silent = self._longest_silent(connection)
        if silent is None:
            return False
        self._doubted.add(silent)
        try:
            answered = await _answers(silent)
        finally:
            self._doubted.discard(silent)
        if not answered:
            silent.close(ErrorCode.NO_ERROR, REPLACED)
            self.leave(silent)
        return not connection.is_closed and self.enter(connection)

    def _longest_silent(self, connection: C) -> C | None:
        assert connection.peer_id is not None
        candidates = self._members.get(connection.peer_id, set()) - self._doubted
        return min(candidates, key=lambda member: member.heard_at, default=None)


async def _answers(connection: Connection) -> bool:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await connection.ping()
    except (TimeoutError, TndrlError):
        return False
    return True
