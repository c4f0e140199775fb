"""The peers of a listener: who is let in once its handshake is over, and what is said of who comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from pki.spiffe import SpiffeId
from tndrl.errors import IdentityError
from tndrl.transport.identity_cap import IdentityCap
from tndrl.transport.session import Session

logger = logging.getLogger("tndrl.transport")


class Peers:
    """The connections of verified peers. Its tasks belong to the group that it is opened with."""

    def __init__(self, most: int, counters: Counter[str], on_peer: Callable[[SpiffeId], None] | None) -> None:
        self._most = most
        self._counters = counters
        self._on_peer = on_peer
        self._welcome: set[Session] = set()
        self._cap: IdentityCap[Session] = IdentityCap(most)
        self._waiting: dict[object, asyncio.Task[None]] = {}  # for room under the cap
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def sessions(self) -> frozenset[Session]:
        """Those that are let in."""
        return frozenset(self._welcome)

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin."""
        self._tasks = tasks

    def enter(self, session: Session) -> None:
        """Let in a connection whose peer is verified, if its identity may have another one."""
        if self._cap.enter(session):
            self._let_in(session)
            return
        assert self._tasks is not None
        self._waiting[session] = self._tasks.create_task(self._make_room(session), name="make room")

    async def wait_entered(self, connection: object) -> None:
        """Wait until it is clear whether there is room for a connection. Safe to cancel."""
        if (waiting := self._waiting.get(connection)) is not None:
            await asyncio.wait({waiting})

    def leave(self, session: Session) -> None:
        """Note the end of a connection, which may be one that was never let in."""
        failure = session.failure
        self._cap.leave(session)
        if session in self._welcome:
            self._welcome.discard(session)
            logger.info("%s at %s is gone: %s", session.peer_id, session.label, failure)
            return
        self._counters["handshakes_failed"] += 1
        if isinstance(failure, IdentityError):
            self._counters["handshakes_refused"] += 1
            self._counters[f"handshakes_refused.{failure.alert_name}"] += 1
        logger.warning("handshake with %s failed: %s", session.label, failure)

    async def _make_room(self, session: Session) -> None:
        try:
            if await self._cap.make_room(session):
                self._let_in(session)
            elif not session.is_closed:
                self._counters["connections_refused"] += 1
                session.refuse(
                    f"{session.peer_id} has {self._most} connections here, "
                    "which all live (limits.connectionsPerIdentity)"
                )
        finally:
            del self._waiting[session]

    def _let_in(self, session: Session) -> None:
        self._welcome.add(session)
        self._counters["handshakes_completed"] += 1
        logger.info("%s connected from %s", session.peer_id, session.label)
        if self._on_peer is not None and session.peer_id is not None:
            self._on_peer(session.peer_id)
