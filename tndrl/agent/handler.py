"""A2A requests, answered so that nothing is lost or done twice: by retries, broken streams and restarts."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from a2a.server.agent_execution import AgentExecutor, RequestContext, SimpleRequestContextBuilder
from a2a.server.agent_execution.active_task import TERMINAL_TASK_STATES
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    Message,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import apply_history_length, validate_history_length

from tndrl.agent.context import AFTER_SEQUENCE
from tndrl.agent.database import MAX_ID, Database
from tndrl.agent.events import EventLog, Logged
from tndrl.agent.messages import Claim, Messages
from tndrl.agent.store import LocalStream, LoggedTaskStore, Sequence

logger = logging.getLogger("tndrl.agent")

INTERRUPTED_TIMEOUT = 3600.0
"""Seconds that a task that waits for its owner stays in memory; the database has it for longer."""

ERROR_TIMEOUT = 1.0
"""Seconds that a FAILED task's error may take to follow it."""

_NEW_TASK = "tndrl.new_task"
"""Where a call's state holds the ID for a task that the SDK is about to make."""

T = TypeVar("T")


class DurableHandler(DefaultRequestHandler):
    """Serves ``executor``'s tasks out of ``database``, on the event loop it is made on.

    A message is taken once for each owner and message ID; who sends it again, at the same time or after a restart,
    gets the same task or answer. Callers are shown what was read from the log of events, each with its number, so a
    subscription that names the last number it has (``after_sequence`` in the call's state) misses nothing.
    Messages for one task are worked on one after the other. ``on_stored`` is called with each task that was saved.
    Call :meth:`aclose` at the end: tasks that run then stay as they are, for :func:`tndrl.agent.sweep.sweep`.
    """

    def __init__(
        self,
        executor: AgentExecutor,
        database: Database,
        card: AgentCard,
        *,
        on_stored: Callable[[Task], None] = lambda _task: None,
    ) -> None:
        self._card = card
        self._log = EventLog(database)
        self._store = LoggedTaskStore(database, self._log, on_stored)
        self._messages = Messages(database, self._log)
        self._sending: dict[tuple[str, str], _Sending] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()
        super().__init__(
            agent_executor=executor,
            task_store=self._store,
            agent_card=_streaming(card),
            extended_agent_card=card,
            request_context_builder=FillContext(self._store),
            event_stream=LocalStream(self._log),
            interrupted_task_timeout=INTERRUPTED_TIMEOUT,
        )

    async def aclose(self) -> None:
        """End what runs, without a word to its tasks."""
        await super().aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Message | Task:
        """Return the task once it rests, or at its first event if the caller wants that; or the agent's answer."""
        sending = await self._send(params, context)
        claim = await sending.claim()
        wait = self._log.begin if params.configuration.return_immediately else self._log.rest
        state = await wait(claim.task_id, claim.seq)
        answer = await sending.answer(state)
        if answer is not None:
            return answer
        stored = await self._store.get(claim.task_id, context)
        if stored is None:
            raise InternalError(message="the agent stopped before there was a task; send the message again")
        return apply_history_length(stored.task, params.configuration)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Yield all events that follow the message, up to the next message for its task; or the agent's answer."""
        self._check_streaming()
        sending = await self._send(params, context)
        claim = await sending.claim()
        state = 0
        async with aclosing(self._log.follow(claim.task_id, claim.seq)) as events:
            async for logged in events:
                if logged.seq > claim.seq + 1 and _begins_turn(logged):
                    break
                state = logged.state
                yield _shortened(logged.event, params.configuration)
        answer = await sending.answer(state)
        if answer is not None:
            yield answer

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Yield the task and what happens to it from then on, until it rests.

        Or, if the call names the number of the last event the caller has, what happened after that; then a task
        that has ended is no error.
        """
        validate_proto_required_fields(params)
        self._check_streaming()
        stored = await self._store.get(params.id, context)
        if stored is None:
            raise TaskNotFoundError
        after = context.state.get(AFTER_SEQUENCE)
        if after is None:
            if stored.task.status.state in TERMINAL_TASK_STATES:
                raise UnsupportedOperationError(message=f"task {params.id} has ended; get it instead")
            yield stored.task
            assert isinstance(stored.version, Sequence)
            after = stored.version.number
        async with aclosing(self._log.follow(params.id, after)) as events:
            async for logged in events:
                yield logged.event

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """Cancel a task, whether the caller waits for it or not.

        Raises TaskNotCancelableError if the task ended otherwise.
        """
        task: Task | None = await asyncio.shield(self._own(super().on_cancel_task(params, context)))
        if task is not None and task.status.state != TaskState.TASK_STATE_CANCELED:
            raise TaskNotCancelableError
        return task

    def _check_streaming(self) -> None:
        if not self._card.capabilities.streaming:
            raise UnsupportedOperationError(message="this agent does not stream")

    async def _send(self, params: SendMessageRequest, context: ServerCallContext) -> _Sending:
        """Return the sending of a message that is on its way already, or start it."""
        validate_proto_required_fields(params)
        validate_history_length(params.configuration)
        message = params.message
        for name, text in (("message", message.message_id), ("context", message.context_id)):
            if len(text) > MAX_ID or "\0" in text:
                raise InvalidParamsError(message=f"a {name} ID has at most {MAX_ID} characters and no NUL")
        if message.task_id and await self._store.get(message.task_id, context) is None:
            raise TaskNotFoundError
        key = (context.user.user_name, message.message_id)
        sending = self._sending.get(key)
        if sending is None:
            # Nothing is awaited between the look and this, so there is one however many come at once.
            claimed: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
            task = self._own(self._work(params, context, claimed))
            sending = self._sending[key] = _Sending(claimed, task)
            task.add_done_callback(lambda _: self._sending.pop(key))
        return sending

    async def _work(
        self, params: SendMessageRequest, context: ServerCallContext, claimed: asyncio.Future[Claim]
    ) -> Message | None:
        """Take a message and have it worked on to the end, unless that was done before; return an answer."""
        owner, message = context.user.user_name, params.message
        task_id = message.task_id or str(uuid.uuid4())
        if message.task_id and (known := await self._messages.find(owner, message.message_id)) is not None:
            # It had its turn: it does not wait for that of another message.
            claimed.set_result(known)
            return known.answer
        async with self._turns.setdefault(task_id, asyncio.Lock()):
            claim = await self._messages.claim(owner, message.message_id, task_id)
            if not claim.is_new:
                claimed.set_result(claim)
                return claim.answer
            with self._log.working(claim.task_id):
                claimed.set_result(claim)
                context.state[_NEW_TASK] = claim.task_id
                try:
                    return await self._run(params, context)
                except Exception:
                    await self._messages.forget(owner, message.message_id)
                    raise

    async def _run(self, params: SendMessageRequest, context: ServerCallContext) -> Message | None:
        message_id, task_id, answer = params.message.message_id, params.message.task_id, None
        if task_id and await self._ended(task_id, context):
            raise UnsupportedOperationError(message=f"task {task_id} has ended; start another")
        try:
            async for event in super().on_message_send_stream(params, context):
                if isinstance(event, Message):
                    answer = event
                    await self._messages.answer(context.user.user_name, message_id, event)
        except A2AError:
            raise
        except Exception as exc:
            logger.exception("a message could not be worked on")
            raise InternalError(message="the agent failed; the log of its node says why") from exc
        return answer

    async def _ended(self, task_id: str, context: ServerCallContext) -> bool:
        """Asked here because the SDK leaves two tasks behind when it is the one to find out."""
        stored = await self._store.get(task_id, context)
        return stored is None or stored.task.status.state in TERMINAL_TASK_STATES

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` even if its caller goes away."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the callers have it, as far as there still are any


class FillContext(SimpleRequestContextBuilder):
    """Gives a message for a task the context of that task, and a new task the ID that was claimed for it."""

    def __init__(self, store: LoggedTaskStore) -> None:
        super().__init__()
        self._tasks = store

    async def build(
        self,
        context: ServerCallContext,
        params: SendMessageRequest | None = None,
        task_id: str | None = None,
        context_id: str | None = None,
        task: Task | None = None,
    ) -> RequestContext:
        """Return the context of a request."""
        if task_id is None:
            task_id = context.state.get(_NEW_TASK)
        elif context_id is None and (stored := await self._tasks.get(task_id, context)) is not None:
            context_id = stored.task.context_id
        return await super().build(context, params, task_id, context_id, task)


class _Sending:
    """A message on its way through the agent, and all who wait for it."""

    def __init__(self, claimed: asyncio.Future[Claim], task: asyncio.Task[Message | None]) -> None:
        self._claimed = claimed
        self._task = task

    async def claim(self) -> Claim:
        """Wait until the message was taken. Raises what kept it from that."""
        await asyncio.wait((self._claimed, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not self._claimed.done():
            self._task.result()
        return self._claimed.result()

    async def answer(self, state: int) -> Message | None:
        """Return the agent's answer where there is no task, or raise its error. ``state`` is the task's, or 0.

        The error of a task is waited for only if it failed, and not for long: an executor may run on for ever.
        """
        failed = state == TaskState.TASK_STATE_FAILED
        await asyncio.wait((self._task,), timeout=(ERROR_TIMEOUT if failed else 0) if state else None)
        return self._task.result() if self._task.done() else None


def _streaming(card: AgentCard) -> AgentCard:
    """Every message is streamed inside; whether callers may is asked of the real card."""
    streaming = AgentCard()
    streaming.CopyFrom(card)
    streaming.capabilities.streaming = True
    return streaming


def _begins_turn(logged: Logged) -> bool:
    """Whether the event is that a message has come into the task, rather than what the agent made of one."""
    return isinstance(logged.event, Task) and not logged.is_last


def _shortened(event: Event, configuration: SendMessageConfiguration) -> Event:
    return apply_history_length(event, configuration) if isinstance(event, Task) else event
