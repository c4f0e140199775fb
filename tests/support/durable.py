"""Agents for tests of what is kept: scripted executors, callers and requests, without a network."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Artifact,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    TaskArtifactUpdateEvent,
    TaskState,
)

from tndrl.agent.answers import status, submitted
from tndrl.agent.context import AFTER_SEQUENCE, SpiffeUser
from tndrl.agent.database import Database
from tndrl.agent.events import Logged
from tndrl.agent.extensions import SEQUENCE
from tndrl.agent.handler import DurableHandler

ALICE, BOB = "spiffe://tndrl/node/alice", "spiffe://tndrl/node/bob"

SUBMITTED = TaskState.TASK_STATE_SUBMITTED
WORKING = TaskState.TASK_STATE_WORKING
COMPLETED = TaskState.TASK_STATE_COMPLETED
FAILED = TaskState.TASK_STATE_FAILED
CANCELED = TaskState.TASK_STATE_CANCELED
INPUT_REQUIRED = TaskState.TASK_STATE_INPUT_REQUIRED

Script = Callable[[RequestContext, EventQueue], Awaitable[None]]


class Scripted(AgentExecutor):
    """An executor that does what ``script`` does, and counts its runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.runs = 0

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.runs += 1
        await self.script(context, event_queue)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await event_queue.enqueue_event(status(context, CANCELED))


def chunk(context: RequestContext, text: str, *, append: bool) -> TaskArtifactUpdateEvent:
    """Return a piece of an answer."""
    artifact = Artifact(artifact_id="reply", parts=[Part(text=text)])
    return TaskArtifactUpdateEvent(
        task_id=context.task_id, context_id=context.context_id, artifact=artifact, append=append
    )


async def begin(context: RequestContext, queue: EventQueue) -> None:
    """Publish the task, if it is new, and that it is WORKING."""
    if context.current_task is None:
        await queue.enqueue_event(submitted(context))
    await queue.enqueue_event(status(context, WORKING))


def answering(*texts: str, end: TaskState = COMPLETED, gate: asyncio.Event | None = None) -> Script:
    """Return a script that answers with ``texts``, waits for ``gate`` and ends."""

    async def script(context: RequestContext, queue: EventQueue) -> None:
        await begin(context, queue)
        for number, text in enumerate(texts):
            await queue.enqueue_event(chunk(context, text, append=number > 0))
        if gate is not None:
            await gate.wait()
        await queue.enqueue_event(status(context, end))

    return script


CARD = AgentCard(
    name="agent",
    description="for tests",
    version="1",
    capabilities=AgentCapabilities(streaming=True, extended_agent_card=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[AgentSkill(id="a", name="a", description="a", tags=["a"])],
    supported_interfaces=[
        AgentInterface(url="localhost:1", protocol_binding="GRPC", protocol_version=version)
        for version in ("1.0", "0.3")
    ],
)


def caller(name: str = ALICE, after: int | None = None) -> ServerCallContext:
    """Return the context of a call by ``name``, of a subscription after number ``after``."""
    state = {} if after is None else {AFTER_SEQUENCE: after}
    return ServerCallContext(user=SpiffeUser(name), state=state)


def request(text: str = "hi", *, at_once: bool = False, **fields: str) -> SendMessageRequest:
    """Return a message with an ID of its own unless ``fields`` name one."""
    fields.setdefault("message_id", str(uuid.uuid4()))
    return SendMessageRequest(
        message=Message(role=Role.ROLE_USER, parts=[Part(text=text)], **fields),
        configuration=SendMessageConfiguration(return_immediately=at_once),
    )


@asynccontextmanager
async def handling(
    executor: AgentExecutor, folder: Path, store: str | None = None, card: AgentCard = CARD
) -> AsyncIterator[DurableHandler]:
    """Run a handler on the database in ``folder``."""
    async with Database(store, folder) as database:
        handler = DurableHandler(executor, database, card)
        try:
            yield handler
        finally:
            await handler.aclose()


def numbers(events: list[object]) -> list[int]:
    """Return the numbers of events."""
    return [int(event.metadata[SEQUENCE]) for event in events]  # type: ignore[attr-defined]


def states(events: list[Logged]) -> list[int]:
    """Return the states after logged events."""
    return [logged.state for logged in events]


async def every(stream: AsyncIterator[object]) -> list[object]:
    """Return all that a stream yields."""
    return [item async for item in stream]
