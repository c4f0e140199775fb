"""The log of what happened to each task: numbered, only ever added to, and followed while it grows.

Everything that a caller is shown was read from here, so it was on disk before it was sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from a2a.server.agent_execution.active_task import INTERRUPTED_TASK_STATES, TERMINAL_TASK_STATES
from a2a.server.events import Event
from a2a.types import a2a_pb2
from a2a.utils.proto_utils import to_stream_response
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tndrl.agent.database import EVENTS, Database
from tndrl.agent.extensions import SEQUENCE

BATCH = 256
"""Events read at once."""

TAIL = 64
"""Events of a task in memory while it is worked on."""

RESTING = TERMINAL_TASK_STATES | INTERRUPTED_TASK_STATES
"""The states in which a task has ended or waits for its owner."""


@dataclass(frozen=True)
class Logged:
    """One event of a task, its number, and the state that the task had afterwards."""

    seq: int
    state: int
    event: Event

    @property
    def is_last(self) -> bool:
        """Whether nothing follows it."""
        return self.state in TERMINAL_TASK_STATES

    @property
    def rests(self) -> bool:
        """Whether the task waits for its owner after it, or has ended."""
        return self.state in RESTING


class EventLog:
    """The events of all tasks in ``database``, and who waits for more of them. Belongs to one event loop.

    All events of a database pass through one log. While a task is worked on its latest events stay in memory, so
    that whoever keeps up does not ask the database for each of them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._bells: defaultdict[str, set[_Bell]] = defaultdict(set)
        self._worked_on: set[str] = set()
        self._tails: dict[str, deque[Logged]] = {}

    async def append(
        self, connection: AsyncConnection, owner: str, event: Event, task: a2a_pb2.Task, seq: int
    ) -> Logged:
        """Log an event that made ``task`` what it is, as number ``seq``; both learn that number.

        Part of the transaction of ``connection``: call :meth:`publish` once it is committed. Raises SQLAlchemy's
        IntegrityError if the number is taken.
        """
        task.metadata[SEQUENCE] = seq
        event.metadata[SEQUENCE] = seq
        payload = to_stream_response(event).SerializeToString()
        row = {
            "task_id": task.id,
            "seq": seq,
            "owner": owner,
            "state": task.status.state,
            "payload": payload,
            "created": time.time(),
        }
        await connection.execute(insert(EVENTS).values(row))
        return Logged(seq, task.status.state, _parse(payload))

    def publish(self, task_id: str, logged: Logged) -> None:
        """Tell who follows the task of an event that is committed."""
        if task_id in self._worked_on:
            self._tails.setdefault(task_id, deque(maxlen=TAIL)).append(logged)
        self._ring(task_id, rests=logged.rests)

    async def last(self, connection: AsyncConnection, task_id: str) -> tuple[int, int]:
        """Return the number and the state of a task's last event; zeros if it has none."""
        if tail := self._tails.get(task_id):
            return tail[-1].seq, tail[-1].state
        query = (
            select(EVENTS.c.seq, EVENTS.c.state)
            .where(EVENTS.c.task_id == task_id)
            .order_by(EVENTS.c.seq.desc())
            .limit(1)
        )
        row = (await connection.execute(query)).first()
        return (row.seq, row.state) if row else (0, 0)

    async def read(self, task_id: str, after: int) -> list[Logged]:
        """Return the next events of a task after number ``after``, at most :data:`BATCH`. Safe to cancel."""
        tail = self._tails.get(task_id)
        if tail and tail[0].seq <= after + 1:
            return [logged for logged in tail if logged.seq > after]
        query = (
            select(EVENTS.c.seq, EVENTS.c.state, EVENTS.c.payload)
            .where(EVENTS.c.task_id == task_id, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
            .limit(BATCH)
        )

        async def work(connection: AsyncConnection) -> list[Logged]:
            rows = await connection.execute(query)
            return [Logged(row.seq, row.state, _parse(row.payload)) for row in rows]

        return await self._database.transaction(work)

    @contextmanager
    def working(self, task_id: str) -> Iterator[None]:
        """Say that more events of the task may come while inside; one at a time may work on a task."""
        assert task_id not in self._worked_on
        self._worked_on.add(task_id)
        try:
            yield
        finally:
            self._worked_on.remove(task_id)
            self._tails.pop(task_id, None)
            self._ring(task_id, rests=True)

    async def follow(self, task_id: str, after: int) -> AsyncGenerator[Logged, None]:
        """Yield the events of a task after number ``after``, each once and in order, and wait for more.

        Ends with the task, or when nothing is left to read and nobody works on it, so it never waits in vain.
        However slow the reader is, little is kept in memory for it. Safe to cancel.
        """
        with self._listening(task_id, rest_only=False) as bell:
            seq, state = await self._database.transaction(lambda connection: self.last(connection, task_id))
            ended = after >= seq and state in TERMINAL_TASK_STATES
            while not ended:
                bell.clear()
                # Asked before reading: what a worker logged before it ended is then among what is read.
                works = task_id in self._worked_on
                events = await self.read(task_id, after)
                for logged in events:
                    after, ended = logged.seq, logged.is_last
                    yield logged
                if not events:
                    if not works:
                        return
                    await bell.wait()

    async def begin(self, task_id: str, after: int) -> int:
        """Wait for an event after number ``after``; return the state of the task then.

        Zero if nobody works on the task and there is no such event. Safe to cancel.
        """
        async with aclosing(self.follow(task_id, after)) as events:
            async for logged in events:
                return logged.state
        return 0

    async def rest(self, task_id: str, after: int) -> int:
        """Wait until an event after number ``after`` leaves the task at rest; return the state it has then.

        Zero if nobody works on the task and there is no such event. Safe to cancel.
        """
        query = (
            select(EVENTS.c.state)
            .where(EVENTS.c.task_id == task_id, EVENTS.c.seq > after, EVENTS.c.state.in_(RESTING))
            .order_by(EVENTS.c.seq)
            .limit(1)
        )
        with self._listening(task_id, rest_only=True) as bell:
            while True:
                bell.clear()
                works = task_id in self._worked_on
                state = await self._database.transaction(lambda connection: connection.scalar(query))
                if state or not works:
                    return state or 0
                await bell.wait()

    def _ring(self, task_id: str, *, rests: bool) -> None:
        for bell in self._bells.get(task_id, ()):
            if rests or not bell.rest_only:
                bell.set()

    @contextmanager
    def _listening(self, task_id: str, *, rest_only: bool) -> Iterator[_Bell]:
        bell = _Bell(rest_only)
        self._bells[task_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[task_id].discard(bell)
            if not self._bells[task_id]:
                del self._bells[task_id]


class _Bell(asyncio.Event):
    """Wakes one who waits for events, or only for those after which the task rests."""

    def __init__(self, rest_only: bool) -> None:
        super().__init__()
        self.rest_only = rest_only


def _parse(payload: bytes) -> Event:
    response = a2a_pb2.StreamResponse.FromString(payload)
    event: Event = getattr(response, str(response.WhichOneof("payload")))
    return event
