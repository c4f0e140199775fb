"""The gate in front of handlers of every kind: who passes, under which identity, and how they are counted."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

from pki.spiffe import SpiffeId
from support import streams
from support.refusals import delay_of
from support.streams import GRPC_TYPE
from tndrl.config import LimitsConfig
from tndrl.errors import NoAnswerError
from tndrl.transport import interceptor, registry
from tndrl.transport.confirmation import Confirmation
from tndrl.transport.gate import CallGate
from tndrl.transport.interceptor import PeerInterceptor
from tndrl.transport.refusal import SOON
from tndrl.transport.registry import PeerIdentity, peer_identity


def who(context: object) -> bytes:
    """Return the caller twice: by context variable, and by the call's context."""
    return f"{peer_identity()} {peer_identity(context)}".encode()


async def coroutine(_request: object, context: grpc.aio.ServicerContext) -> bytes:
    return who(context)


async def generator(_request: object, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield who(context)


async def writer(_request: object, context: grpc.aio.ServicerContext) -> None:
    for _ in range(3):
        await context.write(who(context))


def function(_request: object, context: grpc.ServicerContext) -> bytes:
    return who(context)


def sync_generator(_request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
    for _ in range(3):
        yield who(context)


class Callable:
    """A handler that is an object."""

    async def __call__(self, _request: object, context: grpc.aio.ServicerContext) -> bytes:
        return who(context)


UNARY = {"coroutine": coroutine, "function": function, "object": Callable()}
STREAM = {"generator": generator, "writer": writer, "sync_generator": sync_generator}
TABLE = {
    **{f"uu_{name}": grpc.unary_unary_rpc_method_handler(handler) for name, handler in UNARY.items()},
    **{f"su_{name}": grpc.stream_unary_rpc_method_handler(handler) for name, handler in UNARY.items()},
    **{f"us_{name}": grpc.unary_stream_rpc_method_handler(handler) for name, handler in STREAM.items()},
    **{f"ss_{name}": grpc.stream_stream_rpc_method_handler(handler) for name, handler in STREAM.items()},
}
METHODS = {
    "uu": grpc.aio.Channel.unary_unary,
    "su": grpc.aio.Channel.stream_unary,
    "us": grpc.aio.Channel.unary_stream,
    "ss": grpc.aio.Channel.stream_stream,
}


def begin(channel: grpc.aio.Channel, name: str, *requests: object) -> grpc.aio.Call:
    """Begin a call to a method of whichever kind."""
    call = getattr(channel, METHODS[name.partition("_")[0]].__name__)(f"/test.Service/{name}")
    return call(*requests, timeout=10)


async def ask(channel: grpc.aio.Channel, name: str) -> list[bytes]:
    """Call a method of whichever kind; return all its responses."""
    running = begin(channel, name, b"x" if name[0] == "u" else iter([b"x"]))
    return [await running] if name[1] == "u" else [response async for response in running]


async def refused(channel: grpc.aio.Channel, name: str) -> tuple[grpc.StatusCode, str]:
    """Call a method that refuses; return code and details. Streams of requests send none: it would race the refusal."""
    running = begin(channel, name, *([b"x"] if name[0] == "u" else []))
    return await running.code(), await running.details()


async def retry_delay(channel: grpc.aio.Channel, name: str) -> float:
    """Call a method that refuses; return after how many seconds it says to try again."""
    running = begin(channel, name, *([b"x"] if name[0] == "u" else []))
    code, details = await running.code(), await running.details()
    (detail,) = details_of(await running.trailing_metadata(), code, details)
    return delay_of(detail)


def details_of(metadata: object, code: grpc.StatusCode, details: str) -> list[object]:
    """Return the details of a status, which must agree with it."""
    status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
    assert (status.code, status.message) == (code.value[0], details)
    return list(status.details)


@pytest.mark.parametrize("name", TABLE)
async def test_a_handler_of_each_kind_knows_its_caller(short_dir: Path, name: str) -> None:
    """Whatever way a handler is written, it sees the verified identity, with and without its context."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        answers = await ask(dialer.channel(streams.target(listener.address), GRPC_TYPE), name)
    b = streams.node_id("b")
    assert answers == [f"{b} {b}".encode()] * (1 if name[1] == "u" else 3)


@pytest.mark.parametrize("name", TABLE)
async def test_an_unverified_connection_is_refused(short_dir: Path, name: str) -> None:
    """A call over a local connection that no peer stands behind is UNAUTHENTICATED, and no handler runs (TLS-55)."""
    gate = CallGate()
    async with (
        streams.grpc_server(short_dir / "grpc", TABLE, gate) as server,
        grpc.aio.insecure_channel(f"unix:{server.path}") as channel,
    ):
        code, _details = await refused(channel, name)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert (gate.running, gate.total) == (0, 0)


CHILD = """
import grpc, sys
with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
    try:
        channel.unary_unary("/test.Service/uu_coroutine")(b"", timeout=10)
    except grpc.RpcError as error:
        print(error.code().name)
"""


async def test_another_process_is_refused(short_dir: Path) -> None:
    """So is a process of the same user that finds the socket."""
    gate = CallGate()
    async with streams.grpc_server(short_dir / "grpc", TABLE, gate) as server:
        command = [sys.executable, "-c", CHILD, server.path]
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await child.communicate()
    assert output == b"UNAUTHENTICATED\n"
    assert gate.total == 0


async def test_identities_do_not_mix(short_dir: Path) -> None:
    """Callers with different certificates, interleaved, are each told their own name."""
    async with streams.serving(short_dir, TABLE) as listener:
        dialers = [streams.dialer(f"n{number}") for number in range(5)]
        for one in dialers:
            await one.__aenter__()
        channels = [one.channel(streams.target(listener.address), GRPC_TYPE) for one in dialers]
        calls = [(number, name) for number in range(5) for name in TABLE]
        answers = await asyncio.gather(*(ask(channels[number], name) for number, name in calls))
        for one in dialers:
            await one.aclose()
    for (number, _name), responses in zip(calls, answers, strict=True):
        own = streams.node_id(f"n{number}")
        assert set(responses) == {f"{own} {own}".encode()}


async def test_an_unknown_method_is_unimplemented(short_dir: Path) -> None:
    """What no handler takes stays UNIMPLEMENTED."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        code, _details = await refused(
            dialer.channel(streams.target(listener.address), GRPC_TYPE), "uu_nothing"
        )
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", TABLE)
async def test_a_closed_gate_lets_nobody_in(short_dir: Path, name: str) -> None:
    """Once the gate is closed every call is UNAVAILABLE with the reason."""
    gate = CallGate()
    gate.close("for today")
    async with streams.serving(short_dir, TABLE, gate=gate) as listener, streams.dialer() as dialer:
        outcome = await refused(dialer.channel(streams.target(listener.address), GRPC_TYPE), name)
        assert outcome == (grpc.StatusCode.UNAVAILABLE, "for today")
        assert await retry_delay(dialer.channel(streams.target(listener.address), GRPC_TYPE), name) == SOON


@pytest.mark.parametrize(
    "name", ["uu_coroutine", "us_generator", "us_writer", "uu_function", "us_sync_generator"]
)
async def test_metadata_has_a_limit(short_dir: Path, name: str) -> None:
    """Metadata over the limit is refused whether or not grpcio would, and it is of no use to come again."""
    gate = CallGate(limits=LimitsConfig(metadata=1024))
    async with streams.serving(short_dir, TABLE, gate=gate) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE)
        method = getattr(channel, METHODS[name[:2]].__name__)(f"/test.Service/{name}")
        call = method(b"x", metadata=(("big", "x" * 1000),), timeout=10)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "at most 1,024" in await call.details()
        assert "grpc-status-details-bin" not in dict(await call.trailing_metadata())
        assert await ask(channel, name)


async def test_a_handler_may_clean_up_after_its_caller(short_dir: Path) -> None:
    """A caller that leaves a stream of responses closes the handler, which does what it must; then none runs."""
    gate, loop = CallGate(), asyncio.get_running_loop()
    cleaned = loop.create_future()

    async def tidy(_request: object, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            await asyncio.sleep(0)
            loop.call_soon_threadsafe(cleaned.set_result, str(peer_identity()))

    table = {"us_tidy": grpc.unary_stream_rpc_method_handler(tidy)}
    async with streams.serving(short_dir, table, gate=gate) as listener, streams.dialer() as dialer:
        channel = dialer.channel(streams.target(listener.address), GRPC_TYPE)
        call = channel.unary_stream("/test.Service/us_tidy")(b"")
        assert await call.read() == b"x"
        call.cancel()
        assert await cleaned == streams.node_id("b")
        await streams.until(lambda: gate.running == 0)
    assert gate.total == 1


# Early data


class Handshake:
    """The handshake of a connection that is still under way."""

    def __init__(self, *, fails: bool) -> None:
        self.end = asyncio.Event()
        self._fails = fails

    async def wait_confirmed(self) -> None:
        await self.end.wait()
        if self._fails:
            raise NoAnswerError("b:1", 1)


@asynccontextmanager
async def early_caller(
    folder: Path, *, fails: bool = False, idempotent: Collection[str] = ()
) -> AsyncIterator[tuple[socket.socket, CallGate, Handshake]]:
    """Yield a raw client whose connection stands for a peer that has not proved itself again, and what ends that."""
    gate, handshake, confirmation = CallGate(), Handshake(fails=fails), Confirmation()
    peer = PeerIdentity(SpiffeId.parse(streams.node_id("b")), "192.0.2.1:1")
    async with streams.grpc_server(folder / "grpc", TABLE, gate, idempotent=idempotent) as server:
        name = registry.register(folder, peer, confirmation)
        following = asyncio.ensure_future(confirmation.follow(handshake))
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(name)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, str(server.path))
            yield client, gate, handshake
        handshake.end.set()
        await following
        registry.unregister(name)


async def answer(client: socket.socket, method: str) -> bytes:
    """Call a method over a raw connection and return all that comes until the stream of the call has ended."""
    loop, received = asyncio.get_running_loop(), b""
    await loop.sock_sendall(client, streams.request(method) + streams.message(b"x", end=True))
    while not ends(received):
        data = await loop.sock_recv(client, 65536)
        assert data, "the server gave up"
        received += data
    return received


def ends(received: bytes) -> bool:
    """Return whether the frames so far hold the end of stream 1."""
    while len(received) >= 9:
        length = 9 + int.from_bytes(received[:3], "big")
        if received[3] == 1 and received[4] & 1 and len(received) >= length:
            return True
        received = received[length:]
    return False


@pytest.mark.parametrize("name", TABLE)
async def test_a_call_in_early_data_waits_for_the_handshake(short_dir: Path, name: str) -> None:
    """No handler of any kind runs before the client has proved itself, and each does then."""
    async with early_caller(short_dir) as (client, gate, handshake):
        answering = asyncio.ensure_future(answer(client, name))
        await streams.until(lambda: gate.held == 1, lambda: asyncio.sleep(0.005))
        assert (gate.total, answering.done()) == (0, False)
        handshake.end.set()
        async with asyncio.timeout(5):
            assert streams.node_id("b").encode() in await answering
        assert (gate.total, gate.held) == (1, 1)


@pytest.mark.parametrize("name", TABLE)
async def test_a_call_in_early_data_ends_with_its_handshake(short_dir: Path, name: str) -> None:
    """Where the client does not prove itself no handler runs, and no thread waits any longer."""
    async with early_caller(short_dir, fails=True) as (client, gate, handshake):
        answering = asyncio.ensure_future(answer(client, name))
        await streams.until(lambda: gate.held == 1, lambda: asyncio.sleep(0.005))
        handshake.end.set()
        async with asyncio.timeout(5):
            answered = await answering
        assert b"did not complete" in answered
        assert b"grpc-status-details-bin" in answered  # when to try again
        assert (gate.total, gate.running) == (0, 0)


@pytest.mark.parametrize("name", TABLE)
async def test_an_idempotent_call_in_early_data_is_answered(short_dir: Path, name: str) -> None:
    """A method that may run twice does not wait."""
    async with early_caller(short_dir, idempotent=[f"/test.Service/{name}"]) as (client, gate, _handshake):
        async with asyncio.timeout(5):
            assert streams.node_id("b").encode() in await answer(client, name)
        assert (gate.total, gate.held) == (1, 0)


class AnyName(grpc.GenericRpcHandler):
    """Takes every method, with a handler made for the call."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def name(_request: object, _context: object) -> bytes:
            return details.method.encode()

        return grpc.unary_unary_rpc_method_handler(name)


async def test_handlers_are_wrapped_once_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of methods is used again while the handler is the same, and does not grow with their names."""
    monkeypatch.setattr(interceptor, "MOST_WRAPPED", 3)
    before = PeerInterceptor(CallGate())

    async def found(details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return made.setdefault(details.method, handlers.service(details))

    handlers, made = AnyName(), {}
    wrapped = []
    for number in (0, 1, 2, 3, 4, 0, 4):
        details = SimpleNamespace(method=f"/any/{number}", invocation_metadata=())
        wrapped.append(await before.intercept_service(found, details))
    assert wrapped[5] is wrapped[0]
    assert wrapped[6] is not wrapped[4]
    assert len(before._wrapped) == 3
    made.clear()
    assert await before.intercept_service(found, SimpleNamespace(method="/any/0")) is not wrapped[0]
