"""The agent that every peer of A2A carries, and its callers on a gRPC channel."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import a2a.client  # noqa: F401 - before a2a.compat, which otherwise hides its 0.3 transport
import grpc.aio
from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import (
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
    a2a_pb2_grpc,
)

CHUNK = 32 * 1024
"""Bytes of an artifact's chunk."""

_VERSION = (("a2a-version", "1.0"),)


class Replier(AgentExecutor):
    """Answers "bulk N" with N artifacts of :data:`CHUNK` bytes, all else with a message at once."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer one message."""
        text = context.get_user_input()
        if not text.startswith("bulk "):
            await event_queue.enqueue_event(new_text_message("ready", role=Role.ROLE_AGENT))
            return
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        task = Task(id=context.task_id, context_id=context.context_id, status=status)
        await event_queue.enqueue_event(task)
        updater = _updater(context, event_queue)
        await updater.start_work()
        part = Part(text="x" * CHUNK)
        for number in range(int(text.removeprefix("bulk "))):
            await updater.add_artifact([part], artifact_id=str(number))
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End the task."""
        await _updater(context, event_queue).cancel()


def _updater(context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
    assert context.task_id is not None
    assert context.context_id is not None
    return TaskUpdater(event_queue, context.task_id, context.context_id)


def message(text: str) -> SendMessageRequest:
    """Return a request to an agent."""
    asked = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)])
    return SendMessageRequest(message=asked)


class GrpcAgent:
    """Calls an agent, in version 1.0 of A2A, on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stub: Any = a2a_pb2_grpc.A2AServiceStub
        self._stub = stub(channel)

    async def prompt(self) -> None:
        """Send a message and take the answer."""
        check(await self._stub.SendMessage(message("hello"), metadata=_VERSION, timeout=60))

    async def bulk(self, chunks: int) -> AsyncIterator[int]:
        """Follow a task of so many chunks to its end; yields the bytes of each as it comes."""
        async for event in self._stub.SendStreamingMessage(message(f"bulk {chunks}"), metadata=_VERSION):
            yield size_of(event)


def check(answer: Any) -> None:
    """Raise AssertionError if this is not what the agent answers."""
    if answer.message.parts[0].text != "ready":
        raise AssertionError(f"not the agent's answer: {answer}")


def size_of(event: Any) -> int:
    """Return the bytes of the artifact in an event."""
    return sum(len(part.text) for part in event.artifact_update.artifact.parts)
