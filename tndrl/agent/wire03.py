"""A2A 0.3 as a client speaks it, with the messages of 1.0: for peers that know nothing newer, as Go nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc, conversions, types
from a2a.compat.v0_3.proto_utils import FromProto, ToProto
from a2a.types import a2a_pb2

from tndrl.agent.wire import VERSION_KEY, Answer, after_metadata, events_of

if TYPE_CHECKING:
    import grpc.aio


class Wire03:
    """A2A 0.3; its methods are those of :class:`tndrl.agent.wire.Wire`."""

    version = "0.3"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = a2a_v0_3_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        self._metadata = ((VERSION_KEY, self.version),)

    async def card(self) -> a2a_pb2.AgentCard:
        """Return the agent's card."""
        answer = await self._call(self._stub.GetAgentCard, v03.GetAgentCardRequest())
        return conversions.to_core_agent_card(FromProto.agent_card(answer))

    async def send(self, message: a2a_pb2.Message) -> a2a_pb2.SendMessageResponse:
        """Send a message and return the answer when it is complete."""
        answer = await self._call(self._stub.SendMessage, _request(message))
        if answer.HasField("msg"):
            core = conversions.to_core_message(FromProto.message(answer.msg))
            return a2a_pb2.SendMessageResponse(message=core)
        return a2a_pb2.SendMessageResponse(task=_task(answer.task))

    def stream(self, message: a2a_pb2.Message) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Send a message and yield the answer's events; closing it ends the call."""
        return events_of(self._stub.SendStreamingMessage, _request(message), self._metadata, _event)

    def subscribe(self, task_id: str, after: int | None) -> AsyncGenerator[a2a_pb2.StreamResponse, None]:
        """Yield a task's events: those numbered above ``after``, or from now on if None."""
        request = v03.TaskSubscriptionRequest(name=f"tasks/{task_id}")
        return events_of(self._stub.TaskSubscription, request, self._metadata + after_metadata(after), _event)

    async def get(self, task_id: str) -> a2a_pb2.Task:
        """Return a task."""
        return _task(await self._call(self._stub.GetTask, v03.GetTaskRequest(name=f"tasks/{task_id}")))

    async def list(self, request: a2a_pb2.ListTasksRequest) -> a2a_pb2.ListTasksResponse:
        """Raise NotImplementedError: this version has no such call."""
        raise NotImplementedError("A2A 0.3 cannot list tasks")

    async def cancel(self, task_id: str) -> a2a_pb2.Task:
        """Cancel a task and return it."""
        return _task(await self._call(self._stub.CancelTask, v03.CancelTaskRequest(name=f"tasks/{task_id}")))

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        return await method(request, metadata=self._metadata)


def _request(message: a2a_pb2.Message) -> v03.SendMessageRequest:
    old = ToProto.message(conversions.to_compat_message(message))
    # Without it a Go node answers at once, with a task that has only begun.
    return v03.SendMessageRequest(request=old, configuration=v03.SendMessageConfiguration(blocking=True))


def _task(task: v03.Task) -> a2a_pb2.Task:
    return conversions.to_core_task(FromProto.task(task))


def _event(event: v03.StreamResponse) -> a2a_pb2.StreamResponse:
    result = FromProto.stream_response(event)
    return conversions.to_core_stream_response(types.SendStreamingMessageSuccessResponse(result=result))
