"""What holds for every executor, ours or a user's: its tasks are counted and end, and its faults stay here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.events.event_queue import Event
from a2a.types import Message, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent
from a2a.utils.errors import A2AError, InvalidAgentResponseError

from pki.errors import shown
from tndrl.agent.answers import INTERRUPTED, TERMINAL, status, submitted

logger = logging.getLogger("tndrl.agent")

CANCEL_TIMEOUT = 10.0
"""Seconds that an executor has to cancel a task, before the task is CANCELED without it."""

STORE_TIMEOUT = 10.0
"""Seconds for a task's end to be stored, before the task counts as ended without it."""


class Outlet(EventQueue):
    """Hands events of one task on, and knows in which state they leave it.

    What the SDK would end the task's stream for is raised where the executor publishes it: it would not be stored.
    """

    def __init__(self, queue: EventQueue, context: RequestContext) -> None:
        self._queue = queue
        self._task_id = context.task_id
        task = context.current_task
        self.state = task.status.state if task is not None else None
        self.answered = False
        self.stored = asyncio.Event()  # the task's end, in the store

    @property
    def at_rest(self) -> bool:
        """Whether there is an answer after which the executor may end."""
        return self.answered or self.state in TERMINAL or self.state in INTERRUPTED

    async def enqueue_event(self, event: Event) -> None:
        """Hand an event on.

        Raises InvalidAgentResponseError for one of another task, a status before there is a task, and a message
        beside a task or a second one.
        """
        if isinstance(event, Message):
            if self.state is not None or self.answered:
                raise InvalidAgentResponseError(message="the agent sent a message beside another answer")
            self.answered = True
        else:
            self._note(event)
        await self._queue.enqueue_event(event)

    def _note(self, event: Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent) -> None:
        task_id = event.id if isinstance(event, Task) else event.task_id
        if self.answered or task_id != self._task_id:
            raise InvalidAgentResponseError(message="the agent sent an event of another task")
        if not isinstance(event, TaskArtifactUpdateEvent):
            if self.state is None and not isinstance(event, Task):
                raise InvalidAgentResponseError(message="the agent sent a status before the task")
            self.state = event.status.state
        elif self.state is None:
            self.state = TaskState.TASK_STATE_WORKING


class SupervisedExecutor(AgentExecutor):
    """Runs ``inner``: whatever it does, its tasks come to an end and no text of a fault reaches a peer.

    ``on_change`` is called whenever :attr:`running` changes, on the event loop of the agent.
    """

    def __init__(self, inner: AgentExecutor, on_change: Callable[[], None] = lambda: None) -> None:
        self._inner = inner
        self._on_change = on_change
        self._running = 0
        self._total = 0
        self._outlets: dict[str, Outlet] = {}

    def __repr__(self) -> str:
        return f"<SupervisedExecutor of {self._inner!r}, {self._running} running>"

    @property
    def running(self) -> int:
        """Tasks that run now, until their end is stored. May be read from any thread."""
        return self._running

    @property
    def total(self) -> int:
        """Messages that were executed since the start. May be read from any thread."""
        return self._total

    def note_stored(self, task: Task) -> None:
        """Take note that ``task`` is in the store as it is now."""
        if task.status.state in TERMINAL and (outlet := self._outlets.get(task.id)) is not None:
            outlet.stored.set()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Execute one message. Raises A2AError only before there is a task. When cancelled, so is ``inner``."""
        task, task_id = context.current_task, context.task_id or ""
        if task is not None and task.status.state in TERMINAL:
            return  # the message waited behind one that ended the task
        outlet = self._outlets[task_id] = Outlet(event_queue, context)
        self._running += 1
        self._total += 1
        self._on_change()
        try:
            await self._run(context, outlet)
            if outlet.state in TERMINAL:
                await self._wait_stored(task_id, outlet)
        finally:
            del self._outlets[task_id]
            self._running -= 1
            self._on_change()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Cancel a task, with the help of ``inner`` or without."""
        task_id = context.task_id or ""
        outlet = self._outlets.get(task_id) or Outlet(event_queue, context)
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._inner.cancel(context, outlet)
        except TimeoutError:
            logger.error("the executor did not cancel task %s within %g s", task_id, CANCEL_TIMEOUT)
        except Exception:
            logger.exception("the executor could not cancel task %s", task_id)
        if outlet.state not in TERMINAL:
            await outlet.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))

    async def _run(self, context: RequestContext, outlet: Outlet) -> None:
        try:
            await self._inner.execute(context, outlet)
        except A2AError as error:
            if outlet.state is None:
                raise
            await self._fail(context, outlet, shown(error.message))
        except Exception:
            logger.exception("the executor failed in task %s", context.task_id)
            await self._fail(context, outlet, "the agent failed; the log of its node says why")
        else:
            if not outlet.at_rest:
                logger.error("the executor left task %s without an end", context.task_id)
                await self._fail(context, outlet, "the agent ended without an answer")

    async def _fail(self, context: RequestContext, outlet: Outlet, reason: str) -> None:
        if outlet.at_rest:
            return
        if outlet.state is None:
            await outlet.enqueue_event(submitted(context))
        await outlet.enqueue_event(status(context, TaskState.TASK_STATE_FAILED, reason))

    async def _wait_stored(self, task_id: str, outlet: Outlet) -> None:
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                await outlet.stored.wait()
        except TimeoutError:
            logger.error("the end of task %s was not stored within %g s", task_id, STORE_TIMEOUT)
