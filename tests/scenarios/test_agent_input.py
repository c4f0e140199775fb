"""What peers send to an agent that they should not, and executors and providers that misbehave.

A2A-01 to A2A-03, A2A-07, A2A-09, A2A-10 (push notifications are off), A2A-12 and LIFE-16.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as v03
from a2a.server.agent_execution import RequestContext
from a2a.types import GetTaskRequest, Message, Part, Role, SendMessageResponse

import tndrl
from support import nodes, processes
from support.agents import (
    COMPLETED,
    FAILED,
    VERSIONS,
    Acting,
    Puppet,
    agent_node,
    answer_of,
    ask,
    calling,
    client,
)
from tndrl.agent.answers import ArtifactAnswer, status, submitted
from tndrl.agent.executor import PromptExecutor
from tndrl.errors import ProviderError

NEW, OLD = "lf.a2a.v1.A2AService", "a2a.v1.A2AService"
MEBIBYTE = 1024 * 1024
UNKNOWN = b"\x12\x04nope"
"""A request for the task "nope"."""


def field(number: int, content: bytes) -> bytes:
    """Return an encoded field with a length."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def message(*rest: bytes, message_id: bytes = b"m", role: int = 1) -> bytes:
    """Return an encoded message, with ``rest`` for its further fields. It is the same in both versions."""
    return field(1, message_id) + bytes([4 << 3, role]) + b"".join(rest)


def nested(depth: int) -> bytes:
    """Return an encoded metadata field of structs within each other."""
    value = field(3, b"x")
    for _ in range(depth):
        value = field(5, field(1, field(1, b"k") + field(2, value)))
    return field(6, field(1, field(1, b"k") + field(2, value)))


TEXT = field(5, field(1, b"hi"))
INVALID = "INVALID_ARGUMENT"
MESSAGES = {
    "no fields": (b"", INVALID),
    "no parts": (message(), INVALID),
    "no ID": (message(TEXT, message_id=b""), INVALID),
    "no role": (message(TEXT, role=0), INVALID),
    "an agent's": (message(TEXT, role=2), INVALID),
    "an unknown role": (message(TEXT, role=77), INVALID),
    "an empty part": (message(field(5, b"")), INVALID),
    "an empty text": (message(field(5, field(1, b""))), INVALID),
    "two million empty parts": (message(field(5, b"") * 2_000_000), INVALID),
    "a hundred thousand keys": (
        message(TEXT, field(6, field(1, field(1, b"k") + field(2, field(3, b"x"))) * 100_000)),
        INVALID,
    ),
    "depth 5,000": (message(TEXT, nested(5_000)), INVALID),
    "depth 48": (message(TEXT, nested(48)), INVALID),
    "invalid UTF-8": (message(field(5, field(1, b"\xff\xfe"))), INVALID),
    "NUL in the ID": (message(TEXT, message_id=b"a\0"), INVALID),
    "NUL in the context": (message(TEXT, field(2, b"a\0")), INVALID),
    "NUL in the text": (message(field(5, field(1, b"a\0b"))), "OK"),
    "a huge ID": (message(TEXT, message_id=b"x" * 100_000), INVALID),
    "a huge context": (message(TEXT, field(2, b"x" * 100_000)), INVALID),
    "a huge task": (message(TEXT, field(3, b"x" * 100_000)), "NOT_FOUND"),
    "an unknown task": (message(TEXT, field(3, b"nope")), "NOT_FOUND"),
    "a field of tomorrow": (message(TEXT, field(15, b"?")), "OK"),
    "not protobuf": (b"\xff" * 9, INVALID),
    "too large": (message(field(5, field(1, b"x" * 4 * MEBIBYTE))), "RESOURCE_EXHAUSTED"),
}

CALLS = {
    f"{service} {method} {what}": (service, method, body, code)
    for service, methods, name in (
        (NEW, ("GetTask", "CancelTask", "SubscribeToTask"), UNKNOWN),
        (OLD, ("GetTask", "CancelTask", "TaskSubscription"), field(1, b"tasks/nope")),
    )
    for method in methods
    for what, body, code in (
        ("of none", b"", INVALID),
        ("of an unknown task", name, "NOT_FOUND"),
        ("of no protobuf", b"\xff", INVALID),
    )
} | {
    "a page of less than nothing": (NEW, "ListTasks", b"\x20" + b"\xff" * 9 + b"\x01", INVALID),
    "a page token of its own": (NEW, "ListTasks", field(5, b"zzz"), INVALID),
    "push notifications": (NEW, "ListTaskPushNotificationConfigs", field(1, b"nope"), "FAILED_PRECONDITION"),
    "a push notification to a local address": (
        NEW,
        "CreateTaskPushNotificationConfig",
        field(3, b"nope") + field(4, b"http://127.0.0.1/"),
        "FAILED_PRECONDITION",
    ),
    "push notifications in 0.3": (
        OLD,
        "GetTaskPushNotificationConfig",
        field(1, b"tasks/x/pushNotificationConfigs/y"),
        "FAILED_PRECONDITION",
    ),
}


@asynccontextmanager
async def echo(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Run an agent that echoes, and yield a channel to it; it works afterwards as it did before."""
    async with agent_node(folder, llm__provider="echo") as node, calling(node, folder) as peer:
        yield peer.channel(tndrl.StreamType.A2A)
        for version in VERSIONS:
            assert answer_of(await ask(client(peer, version), "still there?")) == "still there?"


async def answer(
    channel: grpc.aio.Channel, service: str, method: str, body: bytes, *metadata: tuple[str, str]
) -> tuple[str, str]:
    """Return the status of a call with a body, and its details."""
    try:
        await channel.unary_unary(f"/{service}/{method}")(body, metadata=metadata, timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


@pytest.mark.parametrize("service", [NEW, OLD])
@pytest.mark.parametrize("name", MESSAGES)
async def test_messages(short_dir: Path, service: str, name: str) -> None:
    """A bad message has a status that says whose fault it is, in words of the agent's own, and no task."""
    encoded, code = MESSAGES[name]
    async with echo(short_dir) as channel:
        got, details = await answer(
            channel, service, "SendMessage", field(2 if service == NEW else 1, encoded)
        )
        assert got == code, details
        assert "Unexpected" not in details
        assert "Traceback" not in details


@pytest.mark.parametrize("name", CALLS)
async def test_calls(short_dir: Path, name: str) -> None:
    """So has every other bad call."""
    service, method, body, code = CALLS[name]
    async with echo(short_dir) as channel:
        got, details = await answer(channel, service, method, body)
        assert got == code, details
        assert "Unexpected" not in details


@pytest.mark.parametrize("service", [NEW, OLD])
async def test_versions(short_dir: Path, service: str) -> None:
    """A caller that speaks another version than the service it calls is told so."""
    async with echo(short_dir) as channel:
        version = ("a2a-version", "9.9")
        got, details = await answer(channel, service, "SendMessage", b"", version)
        assert (got, "not '9.9'" in details) == ("FAILED_PRECONDITION", True)


async def test_files_in_03(short_dir: Path) -> None:
    """A file that 0.3 names by its address is refused, and never fetched."""
    part = v03.Part(file=v03.FilePart(file_with_uri="http://127.0.0.1/"))
    sent = v03.SendMessageRequest(request=v03.Message(message_id="m", role="ROLE_USER", content=[part]))
    async with echo(short_dir) as channel:
        got, details = await answer(channel, OLD, "SendMessage", sent.SerializeToString())
        assert (got, "does not take a url part" in details) == (INVALID, True)


@pytest.mark.serial
async def test_memory(short_dir: Path) -> None:
    """However often the worst of them come, the node grows by less than 64 MiB."""
    command = processes.SERVE
    async with (
        processes.serving(short_dir / "a", command=command, llm__provider="echo") as process,
        nodes.calling(short_dir / "b", "b", process.address) as peer,
    ):
        channel = peer.channel(tndrl.StreamType.A2A)
        await ask(client(peer, "1.0"), "warm")
        before = process.resident
        for name in ("two million empty parts", "a hundred thousand keys", "depth 5,000", "too large") * 3:
            await answer(channel, NEW, "SendMessage", field(2, MESSAGES[name][0]))
            assert process.resident - before < 64 * MEBIBYTE
        process.signal(signal.SIGTERM)
        await process.ended()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_provider_that_fails(short_dir: Path, version: str) -> None:
    """The task of a provider that fails has FAILED with its reason, and the node serves the next one."""
    puppet = Puppet("a", then=ProviderError("the model is away"))
    async with agent_node(short_dir, PromptExecutor(puppet)) as node, calling(node, short_dir) as peer:
        for _ in range(2):
            task = await ask(client(peer, version), "hi")
            assert (task.status.state, task.status.message.parts[0].text) == (FAILED, "the model is away")
        assert (await nodes.status(peer)).active_tasks == 0


async def _nothing(_context: RequestContext, _queue: Any) -> None:
    """Say nothing."""


async def _raises(_context: RequestContext, _queue: Any) -> None:
    raise ValueError("secret")


async def _raises_later(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(submitted(context))
    raise ValueError("secret")


async def _stops(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(submitted(context))


async def _status_first(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(status(context, COMPLETED))


async def _anothers(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(submitted(context))
    other = status(context, COMPLETED)
    other.task_id = "another"
    await queue.enqueue_event(other)


async def _message_after_task(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(submitted(context))
    await queue.enqueue_event(Message(message_id="m", role=Role.ROLE_AGENT, parts=[Part(text="a")]))


EXECUTORS = (_nothing, _raises, _raises_later, _stops, _status_first, _anothers, _message_after_task)


@pytest.mark.parametrize("execute", EXECUTORS)
async def test_executors(short_dir: Path, execute: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an executor does, its caller is answered with FAILED or INTERNAL, and no text of a fault."""
    async with agent_node(short_dir, Acting(execute)) as node, calling(node, short_dir) as peer:
        channel = peer.channel(tndrl.StreamType.A2A)
        send = channel.unary_unary(
            f"/{NEW}/SendMessage", response_deserializer=SendMessageResponse.FromString
        )
        call = send(field(2, message(TEXT)), timeout=10)
        if await call.code() is grpc.StatusCode.OK:
            assert (await call).task.status.state == FAILED
            assert "secret" not in str(await call)
        else:
            assert await call.code() is grpc.StatusCode.INTERNAL
            assert "secret" not in await call.details()
        assert (await nodes.status(peer)).active_tasks == 0
    caplog.clear()  # the tracebacks keep the channel


async def test_events_after_the_end(short_dir: Path) -> None:
    """What an executor publishes after the end of its task changes nothing."""

    async def execute(context: RequestContext, queue: Any) -> None:
        answer = ArtifactAnswer(context)
        for event in (submitted(context), answer.text("a"), answer.completed("a"), answer.text("b")):
            await queue.enqueue_event(event)
        await queue.enqueue_event(status(context, FAILED))

    async with agent_node(short_dir, Acting(execute)) as node, calling(node, short_dir) as peer:
        asking = client(peer, "1.0")
        task = await ask(asking, "hi")
        task = await asking.get_task(GetTaskRequest(id=task.id))
        assert (task.status.state, answer_of(task)) == (COMPLETED, "a")


async def test_messages_for_what_has_ended(short_dir: Path) -> None:
    """A message for a task that has ended is FAILED_PRECONDITION."""
    async with echo(short_dir) as channel:
        first = await channel.unary_unary(f"/{NEW}/SendMessage")(field(2, message(TEXT)))
        task_id = first[first.index(b"\x0a\x24") + 2 :][:36]
        more = message(TEXT, field(3, task_id), message_id=b"more")
        assert (await answer(channel, NEW, "SendMessage", field(2, more)))[0] == "FAILED_PRECONDITION"


async def test_silence(short_dir: Path) -> None:
    """A provider that hangs holds up nobody else."""
    puppet = Puppet(then="hold")
    async with agent_node(short_dir, PromptExecutor(puppet)) as node, calling(node, short_dir) as peer:
        waiting = asyncio.create_task(ask(client(peer, "1.0"), "hi"))
        await puppet.begun.reach()
        began = time.monotonic()
        await nodes.ping(nodes.control(peer))
        assert time.monotonic() - began < 2
        puppet.released.add()
        assert (await waiting).status.state == COMPLETED
