"""What a request may be made of."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2, a2a_v0_3_pb2_grpc
from a2a.types import Message, Part, Role, SendMessageRequest, Task, a2a_pb2, a2a_pb2_grpc
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tndrl.agent.intake import FAULT, MAX_FIELDS, Intake, count_fields

FORM = SendMessageRequest.DESCRIPTOR
NEW, OLD = "lf.a2a.v1.A2AService", "a2a.v1.A2AService"


def message(parts: int = 1) -> Message:
    return Message(message_id="m", role=Role.ROLE_USER, parts=[Part(text="a")] * parts)


class Service(a2a_pb2_grpc.A2AServiceServicer):
    """Answers, or fails in the way that the message's ID names."""

    async def SendMessage(self, request: Any, context: Any) -> a2a_pb2.SendMessageResponse:  # noqa: N802
        if request.message.message_id == "fault":
            raise ValueError("secret")
        if request.message.message_id == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        return a2a_pb2.SendMessageResponse(task=Task(id="t"))

    async def SendStreamingMessage(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield a2a_pb2.StreamResponse(task=Task(id="t"))
        await self.SendMessage(request, context)


class OldService(a2a_v0_3_pb2_grpc.A2AServiceServicer):
    async def SendMessage(self, _request: Any, _context: Any) -> a2a_v0_3_pb2.SendMessageResponse:  # noqa: N802
        return a2a_v0_3_pb2.SendMessageResponse()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Serve both services behind an intake, and yield a channel to them."""
    server = grpc.aio.server(interceptors=[Intake()])
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(Service(), server)
    a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server(OldService(), server)
    server.add_insecure_port(f"unix:{folder}/s")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{folder}/s") as channel:
        yield channel
    await server.stop(None)


async def answer(
    folder: Path, body: bytes, service: str = NEW, method: str = "SendMessage"
) -> tuple[str, str]:
    """Return the status of a call with a body, and its details."""
    async with serving(folder) as channel:
        begin: Any = channel.unary_stream if "Streaming" in method else channel.unary_unary
        call = begin(f"/{service}/{method}")(body)
        try:
            _ = [response async for response in call] if "Streaming" in method else await call
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""


async def test_good_requests(short_dir: Path) -> None:
    """A good request reaches its method, unknown fields or not."""
    body = SendMessageRequest(message=message()).SerializeToString()
    assert await answer(short_dir, body) == ("OK", "")
    assert await answer(short_dir, body + b"\xba\x3e\x01x") == ("OK", "")
    assert await answer(short_dir, body, method="SendStreamingMessage") == ("OK", "")
    assert await answer(short_dir, b"", OLD) == ("OK", "")


@pytest.mark.parametrize(
    "body", [b"\xff" * 4, b"\x12\x05a", b"\x12\x02\x0a\x05", b"\x0b", b"\x12\x03\x0a\x01\xff"]
)
@pytest.mark.parametrize("service", [NEW, OLD])
async def test_what_is_no_protobuf(short_dir: Path, service: str, body: bytes) -> None:
    """Bytes that are no request are INVALID_ARGUMENT, in words of our own."""
    code, details = await answer(short_dir, body, service)
    if service == NEW or code != "OK":  # the last body is a good one of 0.3, where the field is another
        assert (code, details) == (
            "INVALID_ARGUMENT",
            "the request is not valid protobuf, or is nested too deeply",
        )


async def test_too_many_fields(short_dir: Path) -> None:
    """A request of very many small fields is refused before it takes the memory that they would."""
    body = SendMessageRequest(message=message(MAX_FIELDS)).SerializeToString()
    code, details = await answer(short_dir, body)
    assert (code, details) == ("INVALID_ARGUMENT", f"the request has more than {MAX_FIELDS} fields")


async def test_empty_parts_of_03(short_dir: Path) -> None:
    """A part without content is refused, before the SDK's reading of 0.3 raises."""
    request = a2a_v0_3_pb2.SendMessageRequest(request={"message_id": "m", "content": [{}]})
    code, details = await answer(short_dir, request.SerializeToString(), OLD)
    assert (code, details) == ("INVALID_ARGUMENT", "a part of the message has no content")


@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage"])
async def test_faults(short_dir: Path, method: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody expected is INTERNAL; its text stands in the log only."""
    body = SendMessageRequest(message={"message_id": "fault"}).SerializeToString()
    assert await answer(short_dir, body, method=method) == ("INTERNAL", FAULT)
    assert "secret" in caplog.text
    caplog.clear()  # the traceback keeps the channel


@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage"])
async def test_answers_that_are_errors(short_dir: Path, method: str) -> None:
    """What a method answers is left as it is."""
    body = SendMessageRequest(message={"message_id": "abort"}).SerializeToString()
    assert await answer(short_dir, body, method=method) == ("NOT_FOUND", "gone")


async def test_unknown_methods(short_dir: Path) -> None:
    """A method that there is not is UNIMPLEMENTED."""
    assert (await answer(short_dir, b"", method="Paint"))[0] == "UNIMPLEMENTED"
    assert (await answer(short_dir, b"", "other.Service"))[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("parts", [0, 1, 7])
def test_fields_are_counted(parts: int) -> None:
    """Each field counts, and each of the messages in it."""
    assert (
        count_fields(SendMessageRequest(message=message(parts)).SerializeToString(), FORM, 100)
        == 3 + 2 * parts
    )


def test_counting_stops() -> None:
    """Above the limit nothing more is counted."""
    assert count_fields(SendMessageRequest(message=message(1000)).SerializeToString(), FORM, 10) == 11


def test_all_wire_types() -> None:
    """Numbers of any width are skipped by their length, known or not."""
    fields = (b"\xf8\x07\x96\x01", b"\xf9\x07" + bytes(8), b"\xfd\x07" + bytes(4), b"\xfa\x07\x00")
    for order in itertools.permutations(fields):
        assert count_fields(b"".join(order), FORM, 100) == 4


@pytest.mark.parametrize("body", [b"\xff" * 11, b"\x0c", b"\x0a\x05a", b"\x0a"])
def test_what_cannot_be_counted(body: bytes) -> None:
    """Numbers without an end, unknown wire types and what ends in the middle are no protobuf."""
    with pytest.raises(DecodeError):
        count_fields(body, FORM, 100)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    """What protobuf can decode can be counted, and nothing else is raised than what protobuf does."""
    try:
        count_fields(body, FORM, 1000)
    except DecodeError:
        if not any(byte & 7 in (3, 4) for byte in body):  # groups, which A2A has none of
            with pytest.raises(DecodeError):
                SendMessageRequest.FromString(body)
