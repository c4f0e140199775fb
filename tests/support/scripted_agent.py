"""An agent that does what a test says, in both versions of A2A, on a real gRPC server; and a way to it."""

# ruff: noqa: N802 - the methods' names are the service's

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc, conversions
from a2a.compat.v0_3.proto_utils import FromProto, ToProto
from a2a.types import a2a_pb2, a2a_pb2_grpc
from a2a.types.a2a_pb2 import (
    AgentCard,
    Message,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from tndrl.agent.extensions import AFTER_KEY, ID_PARAMETER, SEQUENCE, SPIFFE_ID
from tndrl.errors import TndrlError

IDENTITY = "spiffe://tndrl/node/a"
TASK = "task-1"
WORKING, COMPLETED = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED


def card(*, identity: str | None = IDENTITY, numbered: bool = True) -> AgentCard:
    """Return the card of an agent, with the extensions that are asked for."""
    made = AgentCard(name="scripted", description="does what it is told", version="1")
    for version in ("1.0", "0.3"):
        made.supported_interfaces.add(url="a:1", protocol_binding="GRPC", protocol_version=version)
    made.default_input_modes.append("text/plain")
    made.default_output_modes.append("text/plain")
    made.capabilities.streaming = True
    if identity is not None:
        made.capabilities.extensions.add(uri=SPIFFE_ID).params.update({ID_PARAMETER: identity})
    if numbered:
        made.capabilities.extensions.add(uri=SEQUENCE)
    return made


def task(state: int = COMPLETED, task_id: str = TASK) -> Task:
    """Return a task."""
    return Task(id=task_id, context_id="context", status=TaskStatus(state=state))


def chunk(text: str) -> StreamResponse:
    """Return an event with a piece of an answer."""
    event = TaskArtifactUpdateEvent(task_id=TASK, context_id="context", append=True)
    event.artifact.artifact_id = "reply"
    event.artifact.parts.add(text=text)
    return StreamResponse(artifact_update=event)


def status(state: int, text: str = "") -> StreamResponse:
    """Return an event with a task's state."""
    event = TaskStatusUpdateEvent(task_id=TASK, context_id="context", status=TaskStatus(state=state))
    if text:
        event.status.message.CopyFrom(said(text))
    return StreamResponse(status_update=event)


def said(text: str) -> Message:
    """Return a message of the agent."""
    message = Message(message_id=str(uuid.uuid4()), role=a2a_pb2.Role.ROLE_AGENT)
    message.parts.add(text=text)
    return message


def numbered(events: Sequence[StreamResponse]) -> list[StreamResponse]:
    """Number events from 1, as Tndrl's agents do."""
    for number, event in enumerate(events, 1):
        getattr(event, event.WhichOneof("payload")).metadata.update({SEQUENCE: number})
    return list(events)


def answer(chunks: int) -> list[StreamResponse]:
    """Return a numbered answer: the task, its pieces, and its end."""
    pieces = [chunk(f"{number} ") for number in range(chunks)]
    return numbered([StreamResponse(task=task(WORKING)), *pieces, status(COMPLETED)])


@dataclass
class Script:
    """What the agent does, and what it was asked."""

    card: AgentCard = field(default_factory=card)
    events: list[StreamResponse] = field(default_factory=lambda: answer(3))
    per_call: int = 1_000_000
    """Events of one stream before it ends as ``ends`` says."""
    ends: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    refusals: list[grpc.StatusCode] = field(default_factory=list)
    """Each fails one call of SendMessage, GetTask, ListTasks or CancelTask; OK fails none."""
    result: Task | Message = field(default_factory=task)
    pages: dict[str, a2a_pb2.ListTasksResponse] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    subscriptions: list[str | None] = field(default_factory=list)
    """The number that each named."""

    async def play(self, context: Any) -> AsyncIterator[StreamResponse]:
        """Yield the events of one call of SendStreamingMessage or SubscribeToTask."""
        after = dict(context.invocation_metadata()).get(AFTER_KEY)
        left = self.events[int(after or 0) :]
        for event in left[: self.per_call]:
            yield event
        if len(left) > self.per_call and self.ends is not grpc.StatusCode.OK:
            await context.abort(self.ends, "cut")

    async def obey(self, context: Any) -> None:
        """Fail the call if it is its turn."""
        if self.refusals and (code := self.refusals.pop(0)) is not grpc.StatusCode.OK:
            await context.abort(code, "as the script says")


class Scripted10(a2a_pb2_grpc.A2AServiceServicer):
    """The script in A2A 1.0."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def GetExtendedAgentCard(self, _request: Any, _context: Any) -> AgentCard:
        return self.script.card

    async def SendMessage(self, request: Any, context: Any) -> a2a_pb2.SendMessageResponse:
        self.script.messages.append(request.message)
        await self.script.obey(context)
        kind = "task" if isinstance(self.script.result, Task) else "message"
        return a2a_pb2.SendMessageResponse(**{kind: self.script.result})

    async def SendStreamingMessage(self, request: Any, context: Any) -> AsyncIterator[StreamResponse]:
        self.script.messages.append(request.message)
        await self.script.obey(context)
        async for event in self.script.play(context):
            yield event

    async def SubscribeToTask(self, _request: Any, context: Any) -> AsyncIterator[StreamResponse]:
        self.script.subscriptions.append(dict(context.invocation_metadata()).get(AFTER_KEY))
        async for event in self.script.play(context):
            yield event

    async def GetTask(self, request: Any, context: Any) -> Task:
        await self.script.obey(context)
        return task(task_id=request.id)

    async def CancelTask(self, request: Any, context: Any) -> Task:
        await self.script.obey(context)
        return task(TaskState.TASK_STATE_CANCELED, request.id)

    async def ListTasks(self, request: Any, context: Any) -> a2a_pb2.ListTasksResponse:
        await self.script.obey(context)
        return self.script.pages[request.page_token]


class Scripted03(a2a_v0_3_pb2_grpc.A2AServiceServicer):
    """The script in A2A 0.3."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def GetAgentCard(self, _request: Any, _context: Any) -> v03.AgentCard:
        return ToProto.agent_card(conversions.to_compat_agent_card(self.script.card))

    async def SendMessage(self, request: Any, context: Any) -> v03.SendMessageResponse:
        self._note(request)
        await self.script.obey(context)
        if isinstance(self.script.result, Message):
            old = conversions.to_compat_message(self.script.result)
            return v03.SendMessageResponse(msg=ToProto.message(old))
        return v03.SendMessageResponse(task=_old(self.script.result))

    async def SendStreamingMessage(self, request: Any, context: Any) -> AsyncIterator[v03.StreamResponse]:
        self._note(request)
        async for event in self.script.play(context):
            yield ToProto.stream_response(conversions.to_compat_stream_response(event).result)

    async def TaskSubscription(self, _request: Any, context: Any) -> AsyncIterator[v03.StreamResponse]:
        self.script.subscriptions.append(dict(context.invocation_metadata()).get(AFTER_KEY))
        async for event in self.script.play(context):
            yield ToProto.stream_response(conversions.to_compat_stream_response(event).result)

    async def GetTask(self, request: Any, _context: Any) -> v03.Task:
        return _old(task(task_id=request.name.removeprefix("tasks/")))

    async def CancelTask(self, request: Any, _context: Any) -> v03.Task:
        return _old(task(TaskState.TASK_STATE_CANCELED, request.name.removeprefix("tasks/")))

    def _note(self, request: Any) -> None:
        assert request.configuration.blocking
        self.script.messages.append(conversions.to_core_message(FromProto.message(request.request)))


def _old(new: Task) -> v03.Task:
    return ToProto.task(conversions.to_compat_task(new))


@dataclass
class UnixLine:
    """A way to a gRPC server on a unix socket, with an identity that nobody has proven."""

    path: Path
    address: str = "a:1"
    identity: str = IDENTITY
    failure: TndrlError | None = None
    probes: int = 0

    async def probe(self, _timeout: float) -> None:
        """Count: a unix socket knows by itself whether it lives."""
        self.probes += 1

    def channel(self, _stream_type: int, *, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """Return a channel to the server."""
        return grpc.aio.insecure_channel(f"unix:{self.path}", options=options)


@asynccontextmanager
async def serving(
    folder: Path, script: Script, versions: Sequence[Callable[[Script], Any]] = (Scripted10, Scripted03)
) -> AsyncIterator[UnixLine]:
    """Serve a script in the given versions and yield the way there."""
    server = grpc.aio.server()
    for version in versions:
        module = a2a_pb2_grpc if version is Scripted10 else a2a_v0_3_pb2_grpc
        module.add_A2AServiceServicer_to_server(version(script), server)
    server.add_insecure_port(f"unix:{folder / 'a'}")
    await server.start()
    try:
        yield UnixLine(folder / "a")
    finally:
        await server.stop(None)
