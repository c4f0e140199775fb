"""Providers and executors that do what a test says, and the SDK's own clients of an agent, in either version."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import a2a.client  # noqa: F401 - before a2a.compat, which otherwise hides its 0.3 transport
from a2a.client import ClientConfig
from a2a.client.base_client import BaseClient
from a2a.client.transports.grpc import GrpcTransport
from a2a.compat.v0_3.grpc_transport import CompatGrpcTransport
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskState,
)

import tndrl
from support import nodes
from support.workshop import Tally
from tndrl.agent.context import A2A_VERSION, SpiffeUser
from tndrl.llm.provider import Turn

VERSIONS = ("1.0", "0.3")
ALICE = "spiffe://tndrl/node/alice"

WORKING = TaskState.TASK_STATE_WORKING
COMPLETED = TaskState.TASK_STATE_COMPLETED
FAILED = TaskState.TASK_STATE_FAILED
CANCELED = TaskState.TASK_STATE_CANCELED


class Puppet:
    """A provider: answers with ``pieces``, then ends, or "hold"s until ``released``, or raises ``then``."""

    def __init__(self, *pieces: str, then: str | Exception = "end") -> None:
        self.pieces = pieces
        self.then = then
        self.asked: list[Sequence[Turn]] = []
        self.begun = Tally()
        self.ended = Tally()
        self.released = Tally()

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        self.asked.append(turns)
        self.begun.add()
        try:
            for piece in self.pieces:
                yield piece
            if isinstance(self.then, Exception):
                raise self.then
            if self.then == "hold":
                await self.released.reach()
        finally:
            self.ended.add()

    async def aclose(self) -> None:
        """Hold nothing."""


class Collector(EventQueue):
    """A queue that keeps what executors publish; ``on_event`` is called with each."""

    def __init__(self, on_event: Callable[[Any], None] = lambda _event: None) -> None:
        self.events: list[Any] = []
        self._on_event = on_event

    async def enqueue_event(self, event: Any) -> None:
        self.events.append(event)
        self._on_event(event)

    @property
    def states(self) -> list[int]:
        """The states that the task went through."""
        return [event.status.state for event in self.events if hasattr(event, "status")]

    @property
    def reason(self) -> str:
        """The text of the last status."""
        return self.events[-1].status.message.parts[0].text


class Acting(AgentExecutor):
    """An executor whose two methods are functions; without ``on_cancel`` a cancellation publishes nothing."""

    def __init__(self, on_execute: Callable[..., Any], on_cancel: Callable[..., Any] | None = None) -> None:
        self._on_execute = on_execute
        self._on_cancel = on_cancel

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        await self._on_execute(context, event_queue)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        if self._on_cancel is not None:
            await self._on_cancel(context, event_queue)


def context(
    text: str = "hi", *, version: str = "1.0", owner: str = ALICE, task: Task | None = None, **fields: Any
) -> RequestContext:
    """Return what an executor is given with a message of one text."""
    call = ServerCallContext(user=SpiffeUser(owner), state={A2A_VERSION: version})
    ids = {"task_id": task.id, "context_id": task.context_id} if task is not None else {}
    return RequestContext(call, request=request(text, **(ids | fields)), task=task)


def request(text: str = "hi", **fields: Any) -> SendMessageRequest:
    """Return a message of one text, with an ID of its own; ``fields`` are those of the message."""
    given = {"message_id": str(uuid.uuid4()), "role": Role.ROLE_USER, "parts": [Part(text=text)]}
    return SendMessageRequest(message=Message(**(given | fields)))


def client(peer: tndrl.Peer, version: str, *, streaming: bool = False) -> BaseClient:
    """Return the SDK's client of one version, on a channel of its own. Do not close it: it goes with the peer."""
    channel = peer.channel(tndrl.StreamType.A2A)
    card = AgentCard(capabilities=AgentCapabilities(streaming=True, extended_agent_card=True))
    transport = GrpcTransport(channel, card) if version == "1.0" else CompatGrpcTransport(channel, None)
    return BaseClient(card, ClientConfig(streaming=streaming), transport, [])


async def ask(asking: BaseClient, text: str, **fields: Any) -> Task:
    """Send a message with a client that does not stream, and return the task it has become."""
    (response,) = [response async for response in asking.send_message(request(text, **fields))]
    return response.task


async def stream(asking: BaseClient, text: str, **fields: Any) -> list[StreamResponse]:
    """Send a message with a client that streams, and return all events."""
    return [response async for response in asking.send_message(request(text, **fields))]


def answer_of(task: Task) -> str:
    """Return what an agent answered, in the manner of either version."""
    parts = [part for artifact in task.artifacts for part in artifact.parts] or task.status.message.parts
    return "".join(part.text for part in parts)


@asynccontextmanager
async def agent_node(
    folder: Path, executor: AgentExecutor | None = None, **flags: object
) -> AsyncIterator[tndrl.Node]:
    """Run a node "a" with an agent, and stop it without waiting for what runs."""
    async with tndrl.Node(nodes.config(folder / "a", **flags), executor=executor) as node:
        try:
            yield node
        finally:
            await node.stop(graceful=False)


@asynccontextmanager
async def calling(node: tndrl.Node, folder: Path, name: str = "b") -> AsyncIterator[tndrl.Peer]:
    """Call a node as ``spiffe://tndrl/node/<name>``."""
    async with nodes.calling(folder / name, name, node.address) as peer:
        yield peer
