"""What a request may be made of, decided before the SDK sees it, and what is said when it breaks all the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import grpc.aio
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

logger = logging.getLogger("tndrl.agent")

MAX_FIELDS = 20_000
"""Fields of one request, those of its parts and its metadata included: two bytes of an empty one become ninety."""

MAX_DEPTH = 100
"""Messages within each other; what is deeper is left to protobuf, which refuses it."""

FAULT = "the agent failed; the log of its node says why"

_SERVICES = {
    module.DESCRIPTOR.services_by_name["A2AService"].full_name: module.DESCRIPTOR.services_by_name[
        "A2AService"
    ]
    for module in (a2a_pb2, a2a_v0_3_pb2)
}


class Intake(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Decodes the requests of both A2A services.

    One that is no protobuf, has too many fields or a part without content is INVALID_ARGUMENT; what the SDK does not
    expect is INTERNAL, without a word of it to the peer.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Put the checks in front of a method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # type: ignore[return-value] # means UNIMPLEMENTED; the stubs leave it out
        _, service, method = handler_call_details.method.split("/")
        form = _SERVICES[service].methods_by_name[method].input_type
        decode = handler.request_deserializer
        assert decode is not None
        wrapped: grpc.RpcMethodHandler[Any, Any]
        if handler.response_streaming:
            wrapped = grpc.unary_stream_rpc_method_handler(
                _streaming(handler.unary_stream, decode, form), None, handler.response_serializer
            )
        else:
            wrapped = grpc.unary_unary_rpc_method_handler(
                _unary(handler.unary_unary, decode, form), None, handler.response_serializer
            )
        return wrapped


def _unary(behaviour: Any, decode: Callable[[bytes], Any], form: Descriptor) -> Callable[..., Any]:
    async def call(body: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> object:
        request = await _decoded(body, decode, form, context)
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            await _fail(context)

    return call


def _streaming(behaviour: Any, decode: Callable[[bytes], Any], form: Descriptor) -> Callable[..., Any]:
    async def respond(body: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[object]:
        request = await _decoded(body, decode, form, context)
        try:
            async with aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response
        except grpc.aio.AbortError:
            raise
        except Exception:
            await _fail(context)

    return respond


async def _fail(context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    logger.exception("a call of the agent failed")
    await context.abort(grpc.StatusCode.INTERNAL, FAULT)


async def _decoded(
    body: bytes,
    decode: Callable[[bytes], Any],
    form: Descriptor,
    context: grpc.aio.ServicerContext[Any, Any],
) -> Any:
    problem = None
    try:
        if count_fields(body, form, MAX_FIELDS) > MAX_FIELDS:
            problem = f"the request has more than {MAX_FIELDS} fields"
        else:
            request = decode(body)
            problem = _empty_part(request)
    except DecodeError:
        problem = "the request is not valid protobuf, or is nested too deeply"
    if problem is not None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
    return request


def _empty_part(request: Any) -> str | None:
    """The SDK's reading of 0.3 does not expect one."""
    old = isinstance(request, a2a_v0_3_pb2.SendMessageRequest)
    if old and any(part.WhichOneof("part") is None for part in request.request.content):
        return "a part of the message has no content"
    return None


def count_fields(body: bytes, form: Descriptor, limit: int) -> int:
    """Return how many fields an encoded message of ``form`` has, those of messages in it included.

    Stops above ``limit``. Raises DecodeError for what is no protobuf (encoding: protobuf.dev/programming-guides).
    """
    count = 0
    waiting = [(0, len(body), form, 0)]
    while waiting and count <= limit:
        at, end, known, depth = waiting.pop()
        while at < end and count <= limit:
            count += 1
            tag, at = _varint(body, at)
            start, at = _content(body, at, tag & 7)
            if at > end:
                raise DecodeError("a field ends after its message")
            field = known.fields_by_number.get(tag >> 3)
            if (
                field is not None
                and field.message_type is not None
                and tag & 7 == _LENGTH
                and depth < MAX_DEPTH
            ):
                waiting.append((start, at, field.message_type, depth + 1))
    return count


_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def _content(body: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """Return where a field's content starts and ends."""
    if wire_type == _VARINT:
        return at, _varint(body, at)[1]
    if wire_type == _LENGTH:
        size, at = _varint(body, at)
        return at, at + size
    if wire_type in (_FIXED64, _FIXED32):
        return at, at + (8 if wire_type == _FIXED64 else 4)
    raise DecodeError(f"no field has the wire type {wire_type}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position in range(10):
        if at + position >= len(body):
            break
        byte = body[at + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value, at + position + 1
    raise DecodeError("a number without an end")
