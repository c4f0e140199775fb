"""What is cleared up in an agent's database: the tasks of a process that is gone, and what is old."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
import uuid

from a2a.server.context import ServerCallContext
from a2a.types.a2a_pb2 import Message, Part, Role, TaskState, TaskStatus, TaskStatusUpdateEvent
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from tndrl.agent.context import SpiffeUser
from tndrl.agent.database import EVENTS, MESSAGES, Database, TaskRow
from tndrl.agent.events import EventLog
from tndrl.agent.messages import came_to_nothing
from tndrl.agent.store import LoggedTaskStore

logger = logging.getLogger("tndrl.agent")

REASON = "interrupted by restart"
"""What a task says that was running when its process ended."""

PRUNE_INTERVAL = 3600.0
"""Seconds between two prunings."""


async def sweep(database: Database) -> int:
    """End the tasks that a process before this one left running; return how many.

    Each becomes FAILED by an event of its own. A task that waits for its owner is left alone. Messages of which
    nothing came are forgotten, so that they can be sent again. Call it before anything is served.
    """
    store = LoggedTaskStore(database, EventLog(database))
    query = select(TaskRow.id, TaskRow.owner).where(_runs())

    async def work(connection: AsyncConnection) -> list[tuple[str, str]]:
        await connection.execute(delete(MESSAGES).where(came_to_nothing()))
        return [(row.id, row.owner) for row in await connection.execute(query)]

    left = await database.transaction(work)
    for task_id, owner in left:
        await _fail(store, task_id, ServerCallContext(user=SpiffeUser(owner)))
    if left:
        logger.warning("%d tasks were interrupted by a restart and have FAILED", len(left))
    return len(left)


async def prune(database: Database, retention: float) -> int:
    """Delete tasks that have rested for ``retention`` seconds, and messages as old; return how many tasks.

    Safe to cancel.
    """
    before = time.time() - retention
    day = datetime.datetime.fromtimestamp(before, datetime.UTC).replace(tzinfo=None)
    old = (TaskRow.last_updated < day) & ~_runs()

    async def work(connection: AsyncConnection) -> int:
        await connection.execute(delete(EVENTS).where(EVENTS.c.task_id.in_(select(TaskRow.id).where(old))))
        await connection.execute(delete(MESSAGES).where(MESSAGES.c.created < before))
        return (await connection.execute(delete(TaskRow).where(old))).rowcount

    return await database.transaction(work)


async def prune_for_ever(database: Database, retention: float, interval: float = PRUNE_INTERVAL) -> None:
    """Prune now and every ``interval`` seconds, until cancelled. An error is logged, and tried again."""
    while True:
        try:
            await prune(database, retention)
        except Exception:
            logger.exception("old tasks could not be deleted")
        await asyncio.sleep(interval)


def _runs() -> ColumnElement[bool]:
    states = (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
    state: ColumnElement[str] = TaskRow.status["state"].as_string()
    return state.in_([TaskState.Name(one) for one in states])


async def _fail(store: LoggedTaskStore, task_id: str, context: ServerCallContext) -> None:
    stored = await store.get(task_id, context)
    assert stored is not None
    task = stored.task
    if task.status.HasField("message"):
        task.history.append(task.status.message)
    reason = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_AGENT, parts=[Part(text=REASON)])
    status = TaskStatus(state=TaskState.TASK_STATE_FAILED, message=reason)
    event = TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id, status=status)
    task.status.CopyFrom(status)
    await store.save(task, event=event, prev=None, prev_version=stored.version, context=context)
