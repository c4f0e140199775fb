"""Tasks as the SDK stores them, each change of which is logged in the same transaction."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, Callable

from a2a.server.agent_execution.active_task import INTERRUPTED_TASK_STATES, TERMINAL_TASK_STATES
from a2a.server.cluster.event_stream import TaskEventStream, VersionedEvent
from a2a.server.cluster.task_store import ConcurrentTaskModificationError, StoredTask, VersionedTaskStore
from a2a.server.cluster.version import TaskVersion
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.tasks import DatabaseTaskStore
from a2a.server.tasks.task_manager import append_artifact_to_task
from a2a.types.a2a_pb2 import (
    ListTasksRequest,
    ListTasksResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from sqlalchemy import delete, insert, inspect, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tndrl.agent.database import EVENTS, Database, TaskRow
from tndrl.agent.events import EventLog, Logged
from tndrl.agent.extensions import SEQUENCE


class Sequence(TaskVersion):
    """A task's version: the number of its last event."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class LoggedTaskStore(VersionedTaskStore):
    """The tasks in ``database``, each seen only by its owner: the user of the call.

    A chunk of an artifact is only logged, so that a long answer is not rewritten with each of its chunks; reading
    a task adds the chunks to its row. Whatever the SDK does, nothing follows the event that ended a task.
    ``on_stored`` is called with each task that was saved, as it is then.
    """

    def __init__(
        self, database: Database, log: EventLog, on_stored: Callable[[Task], None] = lambda _task: None
    ) -> None:
        self._database = database
        self._log = log
        self._on_stored = on_stored
        self._rows = _TaskRows(database)

    async def save(
        self,
        task: Task,
        *,
        event: Event | None,
        prev: Task | None,
        prev_version: TaskVersion,
        context: ServerCallContext,
    ) -> TaskVersion:
        """Log ``event`` and store what it made of ``task``; return its new version. Safe to cancel.

        Raises ConcurrentTaskModificationError if the task has ended, or is not what ``prev_version`` says. As the
        SDK wants it, a cancellation does not ask for the version.
        """
        del prev
        changed = task if event is None or isinstance(event, Task) else event
        owner = context.user.user_name
        if changed is task and task.status.state in INTERRUPTED_TASK_STATES and not prev_version.is_missing:
            # Its owner's next message has come into its history: it does not wait any more.
            task.status.CopyFrom(TaskStatus(state=TaskState.TASK_STATE_SUBMITTED))
        _stamp_time(task.status)

        async def work(connection: AsyncConnection) -> Logged:
            seq, state = await self._log.last(connection, task.id)
            cancels = task.status.state == TaskState.TASK_STATE_CANCELED and seq > 0
            if state in TERMINAL_TASK_STATES or not (cancels or seq == _number(prev_version)):
                raise ConcurrentTaskModificationError(task.id)
            logged = await self._log.append(connection, owner, changed, task, seq + 1)
            if not isinstance(changed, TaskArtifactUpdateEvent):
                await self._rows.write(connection, task, owner, is_new=seq == 0)
            return logged

        def committed(logged: Logged) -> None:
            self._log.publish(task.id, logged)
            self._on_stored(task)

        if isinstance(changed, TaskStatusUpdateEvent):
            changed.status.timestamp.CopyFrom(task.status.timestamp)
        try:
            logged = await self._database.transaction(work, committed)
        except IntegrityError as exc:
            raise ConcurrentTaskModificationError(task.id) from exc
        return Sequence(logged.seq)

    async def get(self, task_id: str, context: ServerCallContext) -> StoredTask | None:
        """Return the caller's task of that ID with its version, None if there is none. Safe to cancel."""
        task = await self._database.to_the_end(self._rows.get(task_id, context))
        if task is None:
            return None
        return StoredTask(task, Sequence(await self._complete(task)))

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Return one page of the caller's tasks. Safe to cancel.

        Raises InvalidParamsError for a page token that was not handed out.
        """
        page = await self._database.to_the_end(self._rows.list(params, context))
        if params.include_artifacts:
            for task in page.tasks:
                await self._complete(task)
        return page

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        """Delete the caller's task of that ID and its events, if there is one. Safe to cancel."""
        owner = context.user.user_name

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                delete(EVENTS).where(EVENTS.c.task_id == task_id, EVENTS.c.owner == owner)
            )
            await connection.execute(delete(TaskRow).where(TaskRow.id == task_id, TaskRow.owner == owner))

        await self._database.transaction(work)

    async def _complete(self, task: Task) -> int:
        """Add the events to ``task`` that its row does not have; return the number of the last."""
        seq = int(task.metadata.fields[SEQUENCE].number_value)
        if task.status.state not in TERMINAL_TASK_STATES:
            while events := await self._log.read(task.id, seq):
                for logged in events:
                    seq = logged.seq
                    _apply(task, logged.event)
        return seq


class LocalStream(TaskEventStream):
    """The SDK's way to tell other processes of a task. There are none: who follows the log has been woken up."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def publish(self, task_id: str, event: VersionedEvent) -> None:
        """Do nothing."""

    async def subscribe(self, task_id: str, *, after: TaskVersion) -> AsyncGenerator[VersionedEvent, None]:
        """Yield the events of a task after a version. Safe to cancel."""
        async for logged in self._log.follow(task_id, _number(after)):
            yield VersionedEvent(logged.event, Sequence(logged.seq))

    async def destroy(self, task_id: str) -> None:
        """Do nothing."""


class _TaskRows(DatabaseTaskStore):
    """The SDK's table and its queries, on our engine."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine, create_table=False)
        self.task_model = TaskRow  # type: ignore[assignment]  # the SDK names its own table's class, not the mixin

    async def write(self, connection: AsyncConnection, task: Task, owner: str, *, is_new: bool) -> None:
        model = self._to_orm(task, owner)
        row = {column.columns[0]: getattr(model, column.key) for column in inspect(TaskRow).column_attrs}
        if is_new:
            await connection.execute(insert(TaskRow).values(row))
            return
        written = await connection.execute(
            update(TaskRow).where(TaskRow.id == task.id, TaskRow.owner == owner).values(row)
        )
        if written.rowcount != 1:
            raise ConcurrentTaskModificationError(task.id)


def _number(version: TaskVersion) -> int:
    return version.number if isinstance(version, Sequence) else 0


def _stamp_time(status: TaskStatus) -> None:
    """Lists are in the order of this time, and what rests is pruned by it."""
    if not status.HasField("timestamp"):
        status.timestamp.FromDatetime(datetime.datetime.now(datetime.UTC))


def _apply(task: Task, event: Event) -> None:
    """Do to a task what the SDK does when the event comes."""
    if isinstance(event, Task):
        task.CopyFrom(event)
    elif isinstance(event, TaskStatusUpdateEvent):
        if task.status.HasField("message"):
            task.history.append(task.status.message)
        task.metadata.MergeFrom(event.metadata)
        task.status.CopyFrom(event.status)
    else:
        assert isinstance(event, TaskArtifactUpdateEvent)
        append_artifact_to_task(task, event)
        task.metadata[SEQUENCE] = event.metadata[SEQUENCE]
