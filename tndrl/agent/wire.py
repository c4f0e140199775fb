"""The two versions of A2A over gRPC as a client speaks them, with one face: the messages are those of 1.0."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from a2a.types import a2a_pb2, a2a_pb2_grpc

from tndrl.agent.extensions import AFTER_KEY

if TYPE_CHECKING:
    import grpc.aio

Answer = TypeVar("Answer")

VERSION_KEY = "a2a-version"


class Wire(Protocol):
    """One version of the protocol on one channel. Every method raises what grpcio does; all are safe to cancel.

    A method may also raise ValueError where an answer does not fit the protocol.
    """

    version: str

    async def card(self) -> a2a_pb2.AgentCard:
        """Return the agent's card."""

    async def send(self, message: a2a_pb2.Message) -> a2a_pb2.SendMessageResponse:
        """Send a message and return the answer when it is complete."""

    def stream(self, message: a2a_pb2.Message) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Send a message and yield the answer's events; closing it ends the call."""

    def subscribe(self, task_id: str, after: int | None) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Yield a task's events: those numbered above ``after``, or from now on if None."""

    async def get(self, task_id: str) -> a2a_pb2.Task:
        """Return a task."""

    async def list(self, request: a2a_pb2.ListTasksRequest) -> a2a_pb2.ListTasksResponse:
        """Return a page of the caller's tasks."""

    async def cancel(self, task_id: str) -> a2a_pb2.Task:
        """Cancel a task and return it."""


class Wire10:
    """A2A 1.0."""

    version = "1.0"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = a2a_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._metadata = ((VERSION_KEY, self.version),)

    async def card(self) -> a2a_pb2.AgentCard:
        """Return the agent's card."""
        return await self._call(self._stub.GetExtendedAgentCard, a2a_pb2.GetExtendedAgentCardRequest())

    async def send(self, message: a2a_pb2.Message) -> a2a_pb2.SendMessageResponse:
        """Send a message and return the answer when it is complete."""
        return await self._call(self._stub.SendMessage, a2a_pb2.SendMessageRequest(message=message))

    def stream(self, message: a2a_pb2.Message) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Send a message and yield the answer's events; closing it ends the call."""
        request = a2a_pb2.SendMessageRequest(message=message)
        return events_of(self._stub.SendStreamingMessage, request, self._metadata, _unchanged)

    def subscribe(self, task_id: str, after: int | None) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Yield a task's events: those numbered above ``after``, or from now on if None."""
        request = a2a_pb2.SubscribeToTaskRequest(id=task_id)
        return events_of(
            self._stub.SubscribeToTask, request, self._metadata + after_metadata(after), _unchanged
        )

    async def get(self, task_id: str) -> a2a_pb2.Task:
        """Return a task."""
        return await self._call(self._stub.GetTask, a2a_pb2.GetTaskRequest(id=task_id))

    async def list(self, request: a2a_pb2.ListTasksRequest) -> a2a_pb2.ListTasksResponse:
        """Return a page of the caller's tasks."""
        return await self._call(self._stub.ListTasks, request)

    async def cancel(self, task_id: str) -> a2a_pb2.Task:
        """Cancel a task and return it."""
        return await self._call(self._stub.CancelTask, a2a_pb2.CancelTaskRequest(id=task_id))

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        return await method(request, metadata=self._metadata)


async def events_of(
    method: Callable[..., Any],
    request: object,
    metadata: tuple[tuple[str, str], ...],
    convert: Callable[[Any], a2a_pb2.StreamResponse],
) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
    """Call ``method`` and yield what it answers, converted; closing it ends the call."""
    call = method(request, metadata=metadata)
    try:
        async for event in call:
            yield convert(event)
    finally:
        call.cancel()


def _unchanged(event: a2a_pb2.StreamResponse) -> a2a_pb2.StreamResponse:
    return event


def after_metadata(number: int | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a subscription to the events after ``number``."""
    return () if number is None else ((AFTER_KEY, str(number)),)
