"""gRPC's interoperability cases by their published descriptions: the service, and the calling side of each case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

messages, services = grpc.protos_and_services("support/testing.proto")

TYPE = 0x10
REQUEST, RESPONSE = 271_828, 314_159
"""Bytes of the large messages."""
REQUESTS, RESPONSES = (27_182, 8, 1_828, 45_904), (31_415, 9, 2_653, 58_979)
"""Bytes of the messages of streams."""
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
DETAILS = "x-test-details"
"""Metadata that asks for a reason in the details of a failed call's status."""
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"


class Service(services.TestServiceServicer):
    """Does what requests say: sizes, pauses, statuses; echoes the metadata that asks for it."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register with a server."""
        services.add_TestServiceServicer_to_server(self, server)

    async def EmptyCall(self, request, _context):  # noqa: N802 - the names are the proto's
        return request

    async def UnaryCall(self, request, context):  # noqa: N802
        await _echo_metadata(context)
        await _obey_status(request, context)
        return messages.SimpleResponse(payload=payload(request.response_size))

    async def StreamingOutputCall(self, request, _context):  # noqa: N802
        for parameters in request.response_parameters:
            yield await _response(parameters)

    async def StreamingInputCall(self, requests, _context):  # noqa: N802
        size = 0
        async for request in requests:
            size += len(request.payload.body)
        return messages.StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(self, requests, context):  # noqa: N802
        await _echo_metadata(context)
        async for request in requests:
            await _obey_status(request, context)
            for parameters in request.response_parameters:
                yield await _response(parameters)


def payload(size: int) -> object:
    """Return a payload of zeros."""
    return messages.Payload(body=bytes(size))


async def _response(parameters: object) -> object:
    await asyncio.sleep(parameters.interval_us / 1e6)
    return messages.StreamingOutputCallResponse(payload=payload(parameters.size))


async def _echo_metadata(context: grpc.aio.ServicerContext) -> None:
    given = dict(context.invocation_metadata())
    if INITIAL in given:
        await context.send_initial_metadata([(INITIAL, given[INITIAL])])
    if TRAILING in given:
        context.set_trailing_metadata([(TRAILING, given[TRAILING])])


async def _obey_status(request: object, context: grpc.aio.ServicerContext) -> None:
    if not request.HasField("response_status"):
        return
    asked = request.response_status
    status = status_pb2.Status(code=asked.code, message=asked.message)
    reason = dict(context.invocation_metadata()).get(DETAILS)
    if reason is not None:
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
    await context.abort_with_status(rpc_status.to_status(status))


def _output(sizes: Sequence[int], *, interval_us: int = 0) -> object:
    parameters = [messages.ResponseParameters(size=size, interval_us=interval_us) for size in sizes]
    return messages.StreamingOutputCallRequest(response_parameters=parameters)


async def empty_unary(channel: grpc.aio.Channel) -> None:
    """An empty message comes back."""
    assert await services.TestServiceStub(channel).EmptyCall(messages.Empty()) == messages.Empty()


async def large_unary(channel: grpc.aio.Channel) -> None:
    """Large messages go both ways."""
    request = messages.SimpleRequest(response_size=RESPONSE, payload=payload(REQUEST))
    answer = await services.TestServiceStub(channel).UnaryCall(request)
    assert answer.payload.body == bytes(RESPONSE)


async def client_streaming(channel: grpc.aio.Channel) -> None:
    """A stream of requests is counted."""

    async def requests() -> AsyncIterator[object]:
        for size in REQUESTS:
            yield messages.StreamingInputCallRequest(payload=payload(size))

    answer = await services.TestServiceStub(channel).StreamingInputCall(requests())
    assert answer.aggregated_payload_size == sum(REQUESTS)


async def server_streaming(channel: grpc.aio.Channel) -> None:
    """Responses come in order and with the sizes asked for."""
    call = services.TestServiceStub(channel).StreamingOutputCall(_output(RESPONSES))
    assert [len(answer.payload.body) async for answer in call] == list(RESPONSES)


async def ping_pong(channel: grpc.aio.Channel) -> None:
    """Requests and responses alternate on one call."""
    call = services.TestServiceStub(channel).FullDuplexCall()
    for request, response in zip(REQUESTS, RESPONSES, strict=True):
        message = _output([response])
        message.payload.CopyFrom(payload(request))
        await call.write(message)
        assert len((await call.read()).payload.body) == response
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def empty_stream(channel: grpc.aio.Channel) -> None:
    """A two-way call without messages ends well."""
    call = services.TestServiceStub(channel).FullDuplexCall()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def cancel_after_begin(channel: grpc.aio.Channel) -> None:
    """A call that is cancelled before its first message is CANCELLED."""
    call = services.TestServiceStub(channel).StreamingInputCall()
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def cancel_after_first_response(channel: grpc.aio.Channel) -> None:
    """A call that is cancelled after its first response is CANCELLED."""
    call = services.TestServiceStub(channel).FullDuplexCall()
    await call.write(_output(RESPONSES[:1]))
    assert len((await call.read()).payload.body) == RESPONSES[0]
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def timeout_on_sleeping_server(channel: grpc.aio.Channel) -> None:
    """A deadline ends a call whose server takes its time."""
    call = services.TestServiceStub(channel).FullDuplexCall(timeout=0.001)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def custom_metadata(channel: grpc.aio.Channel) -> None:
    """Metadata comes back, before the answer and after it, text and bytes."""
    sent = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
    stub = services.TestServiceStub(channel)
    request = messages.SimpleRequest(response_size=RESPONSE, payload=payload(REQUEST))
    unary = stub.UnaryCall(request, metadata=sent)
    await unary
    duplex = stub.FullDuplexCall(metadata=sent)
    await duplex.write(_output([RESPONSE]))
    await duplex.read()
    await duplex.done_writing()
    for call in (unary, duplex):
        assert dict(await call.initial_metadata())[INITIAL] == "test_initial_metadata_value"
        assert dict(await call.trailing_metadata())[TRAILING] == b"\xab\xab\xab"


async def _status(channel: grpc.aio.Channel, message: str) -> None:
    wanted = messages.EchoStatus(code=2, message=message)
    stub = services.TestServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.UnaryCall(messages.SimpleRequest(response_status=wanted))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, message)
    call = stub.FullDuplexCall()
    await call.write(messages.StreamingOutputCallRequest(response_status=wanted))
    await call.done_writing()
    assert (await call.code(), await call.details()) == (grpc.StatusCode.UNKNOWN, message)


async def status_code_and_message(channel: grpc.aio.Channel) -> None:
    """A status comes with its code and message, for both kinds of calls."""
    await _status(channel, "test status message")


async def special_status_message(channel: grpc.aio.Channel) -> None:
    """A message with whitespace and Unicode comes as it was."""
    await _status(channel, SPECIAL)


async def status_details(channel: grpc.aio.Channel) -> None:
    """The details of a status cross over; not one of the published cases."""
    wanted = messages.EchoStatus(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="enough")
    request = messages.SimpleRequest(response_status=wanted)
    call = services.TestServiceStub(channel).UnaryCall(request, metadata=((DETAILS, "because"),))
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = await rpc_status.aio.from_call(call)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.message, info.reason) == ("enough", "because")


async def _unimplemented(call: grpc.aio.UnaryUnaryCall) -> None:
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def unimplemented_method(channel: grpc.aio.Channel) -> None:
    """A method that is not there is UNIMPLEMENTED."""
    await _unimplemented(services.TestServiceStub(channel).UnimplementedCall(messages.Empty()))


async def unimplemented_service(channel: grpc.aio.Channel) -> None:
    """A service that is not there is UNIMPLEMENTED."""
    await _unimplemented(services.UnimplementedServiceStub(channel).UnimplementedCall(messages.Empty()))


CASES: dict[str, Callable[[grpc.aio.Channel], Awaitable[None]]] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        cancel_after_begin,
        cancel_after_first_response,
        timeout_on_sleeping_server,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
    )
}
"""Every case by its published name."""
