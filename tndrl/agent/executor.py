"""Answers messages with what a provider makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import Message, TaskState

from tndrl.agent.answers import answer_for, status, submitted
from tndrl.agent.memory import Memory
from tndrl.agent.parts import TEXT, text_of
from tndrl.agent.reading import INTERVAL, Reading
from tndrl.errors import ProviderError
from tndrl.llm.provider import Provider, Turn


@dataclass
class _Run:
    reading: Reading
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class PromptExecutor(AgentExecutor):
    """An a2a-sdk executor that asks ``provider``, and remembers each caller's conversations.

    ``input_modes`` are the media types it takes; ``interval`` the seconds between two events of one answer.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        memory: Memory | None = None,
        input_modes: Sequence[str] = (TEXT,),
        interval: float = INTERVAL,
    ) -> None:
        self._provider = provider
        self._memory = memory or Memory()
        self._modes = frozenset(input_modes)
        self._interval = interval
        self._runs: dict[str, _Run] = {}

    def __repr__(self) -> str:
        return f"<PromptExecutor {self._provider!r}, {len(self._runs)} running>"

    def prompt_of(self, message: Message) -> str:
        """Return what the provider is asked; raises ContentTypeNotSupportedError and InvalidParamsError."""
        return text_of(message, self._modes)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer one message, as a task that ends COMPLETED, FAILED with a reason, or CANCELED.

        Cancelled from outside it ends the provider's work and leaves the task as it is. Raises as :meth:`prompt_of`.
        """
        assert context.message is not None
        prompt = Turn("user", self.prompt_of(context.message))
        conversation = (context.call_context.user.user_name, context.context_id or "")
        turns = (*self._memory.turns(*conversation), prompt)
        run = _Run(Reading(self._provider.reply(turns), interval=self._interval))
        task_id = context.task_id or ""
        self._runs[task_id] = run
        try:
            whole = await self._answer(run.reading, context, event_queue)
        finally:
            del self._runs[task_id]
            run.ended.set()
        if whole is not None:
            self._memory.remember(*conversation, prompt, Turn("agent", whole))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End the provider's work; returns once the task has ended. Nobody but ``execute`` ends one that runs."""
        run = self._runs.get(context.task_id or "")
        if run is None:
            await event_queue.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))
            return
        run.reading.stop()
        await run.ended.wait()

    async def _answer(self, reading: Reading, context: RequestContext, queue: EventQueue) -> str | None:
        """Publish the answer, and return it if the task is COMPLETED."""
        if context.current_task is None:
            await queue.enqueue_event(submitted(context))
        await queue.enqueue_event(status(context, TaskState.TASK_STATE_WORKING))
        answer = answer_for(context)
        texts: list[str] = []
        try:
            async with reading:
                async for text in reading.texts():
                    texts.append(text)
                    await queue.enqueue_event(answer.text(text))
        except ProviderError as error:
            await queue.enqueue_event(status(context, TaskState.TASK_STATE_FAILED, error.reason))
            return None
        if reading.stopped:
            await queue.enqueue_event(status(context, TaskState.TASK_STATE_CANCELED))
            return None
        whole = "".join(texts)
        await queue.enqueue_event(answer.completed(whole))
        return whole
