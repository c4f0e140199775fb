"""Calling a peer's agent: prompts, streams that outlive their connection, and tasks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from a2a.types.a2a_pb2 import (
    AgentCard,
    ListTasksRequest,
    Message,
    Part,
    Role,
    StreamResponse,
    Task,
)

from tndrl.agent.discovery import MAX_ANSWER, a2a_channel, discover, wire
from tndrl.agent.extensions import numbers_events
from tndrl.agent.follow import Patience, Progress, is_lost
from tndrl.agent.line import Line, attentive, own_errors
from tndrl.agent.wire import Wire
from tndrl.errors import AgentCallError, TndrlError, peer_text

Answer = TypeVar("Answer")
_Events = AsyncGenerator[StreamResponse, None]

PAGE = 100
"""Tasks asked for at a time."""


class AgentClient:
    """The agent of one peer, in the version of A2A that it speaks; the messages are those of 1.0 for both.

    ``card`` is what the agent says of itself, ``identity`` the SPIFFE ID that its node has proven. Every method raises
    AgentCallError where the agent refuses or fails, and the typed cause where the connection is lost for good. It
    belongs to the event loop that made it.
    """

    def __init__(
        self,
        line: Line,
        spoken: Wire,
        card: AgentCard,
        *,
        call_timeout: float,
        resume_timeout: float,
    ) -> None:
        self.address = line.address
        self.identity = line.identity
        self.version = spoken.version
        self.card = card
        self._line = line
        self._wire = spoken
        self._call_timeout = call_timeout
        self._resume_timeout = resume_timeout
        self._resumes = numbers_events(card)

    def __repr__(self) -> str:
        return f"<AgentClient A2A {self.version}, {self.identity} at {self.address}>"

    async def send(
        self, text: str, *, task_id: str = "", context_id: str = "", message_id: str | None = None
    ) -> Task | Message:
        """Send a prompt and return the whole answer, however long it takes.

        ``task_id`` and ``context_id`` continue a task or a conversation. A repeated ``message_id``, a fresh one unless
        told otherwise, gets the answer to the first; after a loss the prompt is sent again by itself, if the agent is
        one that knows repeated messages. Cancelling it does not cancel the task.
        """
        message = _message(text, task_id, context_id, message_id)
        patience = Patience(self._resume_timeout)
        while True:
            try:
                with own_errors(self._line):
                    answer = await attentive(self._line, self._wire.send(message))
            except TndrlError as failure:
                if not self._may_repeat(failure, patience):
                    raise
                await patience.wait(failure)
            else:
                return answer.message if answer.HasField("message") else answer.task

    def stream(
        self, text: str, *, task_id: str = "", context_id: str = "", message_id: str | None = None
    ) -> _Events:
        """Send a prompt and yield the answer's events as they come; takes what :meth:`send` does.

        It ends when the task ends or waits for its caller. Where the connection is lost on the way, it comes back and
        goes on after the last event: each numbered event is yielded once, in order. It gives up after
        ``resume_timeout`` seconds without one. Agents of others than Tndrl number nothing; with them a loss is
        raised. Closing it early does not cancel the task.
        """
        message = _message(text, task_id, context_id, message_id)
        return self._follow(Progress(), lambda: self._wire.stream(message))

    def watch(self, task_id: str) -> _Events:
        """Yield the events of a task of ours from the first on, those that are to come too.

        Ends and resumes as :meth:`stream`. An agent that numbers nothing begins with the task as it is.
        """
        progress = Progress(task_id)
        return self._follow(progress, lambda: self._subscribe(progress))

    async def get(self, task_id: str) -> Task:
        """Return a task of ours. Safe to cancel."""
        return await self._call(self._wire.get(task_id))

    async def list(self, *, context_id: str = "", limit: int = 1000) -> Sequence[Task]:
        """Return our tasks, the latest first and at most ``limit``, without their history. Safe to cancel."""
        tasks: dict[str, Task] = {}
        request = ListTasksRequest(context_id=context_id, history_length=0)
        while True:
            request.page_size = min(PAGE, limit - len(tasks))
            page = await self._call(self._wire.list(request))
            known = len(tasks)
            tasks |= {task.id: task for task in page.tasks}
            request.page_token = page.next_page_token
            if not request.page_token or len(tasks) >= limit or len(tasks) == known:
                return tuple(tasks.values())[:limit]

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task of ours and return it; AgentCallError if it has ended already."""
        return await self._call(self._wire.cancel(task_id))

    # private

    async def _call(self, call: Awaitable[Answer]) -> Answer:
        with own_errors(self._line):
            async with asyncio.timeout(self._call_timeout):
                return await call

    def _subscribe(self, progress: Progress) -> _Events:
        return self._wire.subscribe(progress.task_id, progress.last if self._resumes else None)

    def _may_repeat(self, failure: TndrlError, patience: Patience) -> bool:
        """Whether to send a prompt again; a node that lives and refuses is asked once more only."""
        refused = isinstance(failure, AgentCallError) and patience.failures > 0
        return self._resumes and is_lost(failure) and not refused

    async def _follow(self, progress: Progress, begin: Callable[[], _Events]) -> _Events:
        patience = Patience(self._resume_timeout)
        while True:
            failure: TndrlError | None = None
            async with aclosing(self._subscribe(progress) if progress.began else begin()) as events:
                while failure is None:
                    try:
                        with own_errors(self._line):
                            event = await attentive(self._line, anext(events, None))
                    except TndrlError as error:
                        failure = error
                        continue
                    if event is None:
                        break
                    if progress.take(event):
                        patience.reset()
                        yield event
                    if progress.is_over:
                        return
            if progress.is_interrupted:
                return
            await self._prepare_resume(progress, patience, failure)

    async def _prepare_resume(
        self, progress: Progress, patience: Patience, failure: TndrlError | None
    ) -> None:
        """Wait until the next attempt is due; raises where there is none."""
        if failure is None:
            failure = AgentCallError(self.address, "ABORTED", "the stream ended before the task did")
        try:
            may = (
                is_lost(failure) and self._resumes if progress.began else self._may_repeat(failure, patience)
            )
            if not may:
                raise failure
            await patience.wait(failure)
        except TndrlError:
            if progress.task_id:
                failure.add_note(
                    f"'tndrl task watch' may show the rest of task {peer_text(progress.task_id)}"
                )
            raise


@asynccontextmanager
async def open_agent(
    line: Line, *, call_timeout: float = 30.0, resume_timeout: float = 30.0, max_answer: int = MAX_ANSWER
) -> AsyncIterator[AgentClient]:
    """Find out how the agent on ``line`` is spoken to, and close its channel when the block is left.

    ``call_timeout`` is in seconds, for every call but prompts and streams; ``max_answer`` in bytes. Raises as
    :func:`tndrl.agent.discovery.discover` does.
    """
    version, card = await discover(line, call_timeout)
    channel = a2a_channel(line, max_answer)
    try:
        yield AgentClient(
            line, wire(version, channel), card, call_timeout=call_timeout, resume_timeout=resume_timeout
        )
    finally:
        await channel.close(None)


def _message(text: str, task_id: str, context_id: str, message_id: str | None) -> Message:
    return Message(
        message_id=message_id or str(uuid.uuid4()),
        role=Role.ROLE_USER,
        parts=[Part(text=text)],
        task_id=task_id,
        context_id=context_id,
    )
