"""Which messages were taken: one that comes again is not worked on again.

A message is known by its owner and its ID, so nobody can ask for another's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from a2a.types.a2a_pb2 import Message
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from tndrl.agent.database import EVENTS, MESSAGES, Database
from tndrl.agent.events import EventLog


@dataclass(frozen=True)
class Claim:
    """A message that was taken: its task, the number of that task's last event before it, and what is known of it.

    ``is_new`` tells the first claim from the later ones. ``answer`` is there if the agent answered by a message
    and without a task.
    """

    task_id: str
    seq: int
    is_new: bool
    answer: Message | None = None


class Messages:
    """The messages taken so far, in ``database``."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log

    async def find(self, owner: str, message_id: str) -> Claim | None:
        """Return the claim of a message, None if it was not taken. Safe to cancel."""
        return await self._database.transaction(lambda connection: _find(connection, owner, message_id))

    async def claim(self, owner: str, message_id: str, task_id: str) -> Claim:
        """Take a message for ``task_id``, or return the claim it has already. Safe to cancel."""

        async def work(connection: AsyncConnection) -> Claim:
            if (known := await _find(connection, owner, message_id)) is not None:
                return known
            seq, _ = await self._log.last(connection, task_id)
            row_of = {"owner": owner, "message_id": message_id, "task_id": task_id, "seq": seq}
            await connection.execute(insert(MESSAGES).values(**row_of, created=time.time()))
            return Claim(task_id, seq, is_new=True)

        return await self._database.transaction(work)

    async def answer(self, owner: str, message_id: str, answer: Message) -> None:
        """Keep the answer to a message that made no task. Safe to cancel."""
        change = update(MESSAGES).where(_is(owner, message_id)).values(answer=answer.SerializeToString())
        await self._database.transaction(lambda connection: connection.execute(change))

    async def forget(self, owner: str, message_id: str) -> None:
        """Give a claim up if nothing came of it, so that the message may be sent again. Safe to cancel."""
        change = delete(MESSAGES).where(_is(owner, message_id), came_to_nothing())
        await self._database.transaction(lambda connection: connection.execute(change))


def came_to_nothing() -> ColumnElement[bool]:
    """Return the condition of claims that have neither an answer nor an event of their task after them."""
    later = select(EVENTS.c.seq).where(EVENTS.c.task_id == MESSAGES.c.task_id, EVENTS.c.seq > MESSAGES.c.seq)
    return MESSAGES.c.answer.is_(None) & ~later.exists()


async def _find(connection: AsyncConnection, owner: str, message_id: str) -> Claim | None:
    row = (await connection.execute(select(MESSAGES).where(_is(owner, message_id)))).first()
    if row is None:
        return None
    answer = Message.FromString(row.answer) if row.answer is not None else None
    return Claim(row.task_id, row.seq, is_new=False, answer=answer)


def _is(owner: str, message_id: str) -> ColumnElement[bool]:
    return (MESSAGES.c.owner == owner) & (MESSAGES.c.message_id == message_id)
