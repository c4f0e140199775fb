"""The service that every peer carries: gRPC's own test service, which the Go peer serves too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

messages, services = grpc.protos_and_services("support/testing.proto")

TYPE = 0x10
"""The stream type of the service on nodes."""

SMALL = 100
"""Bytes of the payload of a unary call, each way."""

LARGE = 64 * 1024
"""Bytes of the payload of a stream's messages."""

MAX_MESSAGE = 4 * 1024 * 1024
MAX_CALLS = 100
MAX_METADATA = 8192

SERVER_OPTIONS = [
    ("grpc.max_concurrent_streams", MAX_CALLS),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.so_reuseport", 0),
    ("grpc.http.overload_protection", 0),
]
"""A node's limits, for the servers that are none."""


class Service(services.TestServiceServicer):  # type: ignore[name-defined,misc]  # made at run time
    """Answers with as many bytes as asked for, and counts those that come."""

    async def EmptyCall(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the names are the proto's
        """Answer at once."""
        return request

    async def UnaryCall(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Answer with as many bytes as asked for."""
        return messages.SimpleResponse(payload=payload(request.response_size))

    async def StreamingOutputCall(self, request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Send as many messages as asked for."""
        for parameters in request.response_parameters:
            yield messages.StreamingOutputCallResponse(payload=payload(parameters.size))

    async def StreamingInputCall(self, requests: Any, _context: Any) -> Any:  # noqa: N802
        """Count."""
        size = 0
        async for request in requests:
            size += len(request.payload.body)
        return messages.StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(self, requests: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer each message as it asks."""
        async for request in requests:
            for parameters in request.response_parameters:
                yield messages.StreamingOutputCallResponse(payload=payload(parameters.size))


def register(server: grpc.aio.Server) -> None:
    """Add the service to a server."""
    services.add_TestServiceServicer_to_server(Service(), server)


def payload(size: int) -> Any:
    """Return a payload of zeros."""
    return messages.Payload(body=bytes(size))


def wanted(count: int, size: int = LARGE, body: int = 0) -> Any:
    """Return a request for ``count`` messages that has ``body`` bytes itself."""
    parameters = [messages.ResponseParameters(size=size)] * count
    return messages.StreamingOutputCallRequest(response_parameters=parameters, payload=payload(body))


class GrpcCaller:
    """Calls the service on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = services.TestServiceStub(channel)
        self._small = messages.SimpleRequest(response_size=SMALL, payload=payload(SMALL))
        self._chunk = messages.StreamingInputCallRequest(payload=payload(LARGE))

    async def unary(self, timeout: float = 30.0) -> None:
        """Send and receive :data:`SMALL` bytes."""
        await self._stub.UnaryCall(self._small, timeout=timeout)

    async def down(self, count: int) -> int:
        """Receive ``count`` large messages; returns their bytes."""
        size = 0
        async for answer in self._stub.StreamingOutputCall(wanted(count)):
            size += len(answer.payload.body)
        return size

    async def up(self, count: int) -> int:
        """Send ``count`` large messages; returns the bytes that the server counted."""

        async def requests() -> AsyncIterator[Any]:
            for _ in range(count):
                yield self._chunk

        answer = await self._stub.StreamingInputCall(requests())
        return int(answer.aggregated_payload_size)

    async def both(self, count: int) -> int:
        """Send ``count`` large messages and receive as many at once; returns the bytes of both."""
        call = self._stub.FullDuplexCall()

        async def send() -> None:
            request = wanted(1, LARGE, LARGE)
            for _ in range(count):
                await call.write(request)
            await call.done_writing()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            size = count * LARGE
            async for answer in call:
                size += len(answer.payload.body)
        return size
