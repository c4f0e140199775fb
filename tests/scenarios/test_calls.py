"""A user's own service under 0x10: every kind of call, with all that gRPC promises, across the bridge."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from scenarios.conftest import Scene
from support.workshop import Work

CALLER = "spiffe://tndrl/node/b"
METHODS = ("Make", "MakeMany", "Collect", "Exchange")
MEBIBYTE = 1024 * 1024


async def works(*given: Work) -> AsyncIterator[Work]:
    """Yield requests."""
    for work in given:
        yield work


def begin(stub: object, method: str, work: Work, **options: object) -> grpc.aio.Call:
    """Begin a call of any kind with one request."""
    request = works(work) if method in ("Collect", "Exchange") else work
    return getattr(stub, method)(request, **options)


def hold(stub: object, method: str, **options: object) -> grpc.aio.Call:
    """Begin a call of any kind that does not end by itself."""
    return begin(stub, method, Work(how="hold", pieces=1), **options)


async def finish(call: grpc.aio.Call) -> list:
    """Return the answers of a call of any kind."""
    if isinstance(call, (grpc.aio.UnaryUnaryCall, grpc.aio.StreamUnaryCall)):
        return [await call]
    return [piece async for piece in call]


async def test_unary(scene: Scene) -> None:
    """A unary call carries its message there and back, and knows the caller."""
    piece = await scene.stub().Make(Work(material=b"oak"))
    assert (piece.material, piece.made_for) == (b"oak", CALLER)


async def test_server_streaming(scene: Scene) -> None:
    """Each message of a server's stream arrives, in order."""
    pieces = [piece async for piece in scene.stub().MakeMany(Work(material=b"oak", pieces=100))]
    assert [piece.material for piece in pieces] == [b"oak"] * 100


async def test_client_streaming(scene: Scene) -> None:
    """Each message of a client's stream arrives, in order."""
    piece = await scene.stub().Collect(works(*(Work(material=bytes([n])) for n in range(100))))
    assert piece.material == bytes(range(100))


async def test_bidirectional_streaming(scene: Scene) -> None:
    """Messages go back and forth one by one, each answered before the next is sent."""
    call = scene.stub().Exchange()
    for number in range(50):
        await call.write(Work(material=bytes([number])))
        assert (await call.read()).material == bytes([number])
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("method", METHODS)
async def test_metadata(scene: Scene, method: str) -> None:
    """Initial and trailing metadata, text and binary, arrive whole."""
    sent = (("echo", "a b~"), ("echo-bin", bytes(range(256))))
    call = begin(scene.stub(), method, Work(pieces=1), metadata=sent)
    await finish(call)
    assert ("echo", "a b~") in tuple(await call.initial_metadata())
    assert ("echo-bin", bytes(range(256))) in tuple(await call.trailing_metadata())


@pytest.mark.parametrize("method", METHODS)
async def test_no_deadline(scene: Scene, method: str) -> None:
    """A call without a deadline has none at the server."""
    (piece,) = await finish(begin(scene.stub(), method, Work(pieces=1)))
    assert piece.time_left == 0


@pytest.mark.parametrize("method", METHODS)
async def test_deadline_is_known(scene: Scene, method: str) -> None:
    """The server sees how much time a call has left; grpcio sends it rounded up to three digits or so."""
    (piece,) = await finish(begin(scene.stub(), method, Work(pieces=1), timeout=30))
    assert 25 < piece.time_left <= 31


@pytest.mark.serial
@pytest.mark.parametrize("method", METHODS)
async def test_deadline_passes(scene: Scene, method: str) -> None:
    """At its deadline a call ends with DEADLINE_EXCEEDED, and its handler is cancelled."""
    stub = scene.stub()
    await stub.Make(Work())
    began = time.monotonic()
    call = hold(stub, method, timeout=0.5)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 0.5 + 0.2
    async with asyncio.timeout(1):
        await scene.workshop.cancelled.reach()


@pytest.mark.parametrize("method", METHODS)
async def test_cancelled_by_the_caller(scene: Scene, method: str) -> None:
    """A call that the caller gives up is cancelled at the server within a second."""
    stub = scene.stub()
    call = hold(stub, method)
    await scene.workshop.begun.reach()
    call.cancel()
    async with asyncio.timeout(1):
        await scene.workshop.cancelled.reach()
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert await scene.stub().Make(Work())


@pytest.mark.parametrize("method", METHODS)
async def test_cancelled_with_its_channel(scene: Scene, method: str) -> None:
    """Calls of a channel that is closed are cancelled at the server."""
    channel = scene.peer.channel(0x10)
    stub = type(scene.stub())(channel)
    _call = hold(stub, method)
    await scene.workshop.begun.reach()
    await channel.close()
    async with asyncio.timeout(1):
        await scene.workshop.cancelled.reach()


@pytest.mark.parametrize("method", ["Make", "MakeMany", "Exchange"])
async def test_rich_status(scene: Scene, method: str) -> None:
    """A status arrives with its code, its text and its typed details."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await finish(begin(scene.stub(), method, Work(how="fail", pieces=1)))
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "there is no material \N{SNOWMAN}"
    status = rpc_status.from_call(raised.value)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("NO_MATERIAL", {"left": "0"})


@pytest.mark.parametrize("size", [271_828, MEBIBYTE, 4 * MEBIBYTE - 64])
async def test_large_messages(scene: Scene, size: int) -> None:
    """A message up to the limit goes there and back byte for byte."""
    material = random.Random(size).randbytes(size)
    piece = await scene.stub().Make(Work(material=material), timeout=30)
    assert piece.material == material


async def test_large_streams(scene: Scene) -> None:
    """Eight megabytes go both ways at once, byte for byte."""
    chunks = [random.Random(n).randbytes(MEBIBYTE // 2) for n in range(16)]
    call = scene.stub().Exchange(works(*(Work(material=chunk) for chunk in chunks)))
    assert [piece.material async for piece in call] == chunks


async def test_too_large(scene: Scene) -> None:
    """A message over the limit of the server is RESOURCE_EXHAUSTED, and the next call works."""
    stub = scene.stub()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Make(Work(material=bytes(4 * MEBIBYTE + 1)), timeout=30)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.Make(Work(material=b"oak"))).material == b"oak"
    assert scene.workshop.begun.count == 1


async def test_concurrent_calls(scene: Scene) -> None:
    """Three hundred calls at once over one cold channel, more than it may carry, all come back right."""
    stub = scene.stub()
    sent = [str(number).encode() * 50 for number in range(300)]
    pieces = await asyncio.gather(*(stub.Make(Work(material=each, seconds=0.01)) for each in sent))
    assert [piece.material for piece in pieces] == sent


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compression(scene: Scene, how: grpc.Compression) -> None:
    """A compressed call crosses in fewer bytes and arrives whole."""
    before = scene.node.stats()["bytes_received"]
    piece = await scene.stub().Make(Work(material=bytes(MEBIBYTE)), compression=how)
    assert piece.material == bytes(MEBIBYTE)
    assert scene.node.stats()["bytes_received"] - before < MEBIBYTE // 4


async def test_unknown_method(scene: Scene) -> None:
    """A method that the service does not have is UNIMPLEMENTED."""
    call = scene.peer.channel(0x10).unary_unary("/support.Workshop/Paint")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_service_of_another_type(scene: Scene) -> None:
    """A service answers on its own stream type only."""
    call = scene.peer.channel(0x01).unary_unary("/support.Workshop/Make")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
