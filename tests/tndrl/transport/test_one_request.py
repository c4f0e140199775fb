"""Handlers of one request, whichever way they are written, and calls that have none for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import streams
from support.literals import block, headers
from support.streams import GRPC_TYPE, RawClient, frame, outcomes
from tndrl.transport.gate import CallGate
from tndrl.transport.one_request import function_of


async def coroutine(request: str, _context: object) -> bytes:
    return request.encode()


async def generator(request: str, _context: object) -> AsyncIterator[bytes]:
    yield request.encode()


async def writer(request: str, context: grpc.aio.ServicerContext) -> None:
    await context.write(request.encode())


def function(request: str, _context: object) -> bytes:
    return request.encode()


def sync_generator(request: str, _context: object) -> Iterator[bytes]:
    yield request.encode()


def iterator(request: str, _context: object) -> Iterator[bytes]:
    return iter([request.encode()])


TABLE = {
    each.__name__: grpc.unary_unary_rpc_method_handler(each, request_deserializer=bytes.decode)
    for each in (coroutine, function)
} | {
    each.__name__: grpc.unary_stream_rpc_method_handler(each, request_deserializer=bytes.decode)
    for each in (generator, writer, sync_generator, iterator)
}


async def ask(folder: Path, name: str, body: bytes) -> tuple[str, bytes]:
    """Call a handler with whatever stands in DATA; return the status and all that came."""
    gate = CallGate()
    async with streams.serving(folder, TABLE, gate) as listener, RawClient(listener.address) as peer:
        opening = bytes([GRPC_TYPE]) + streams.HELLO + frame(4, 1, 0, b"")
        peer.send(0, opening + headers(block(streams.fields(name).items()), 1) + body)
        await peer.until(lambda: 1 in outcomes(peer.received[0]))
        await streams.until(lambda: gate.running == 0)
        return outcomes(peer.received[0])[1], peer.received[0]


@pytest.mark.parametrize("name", TABLE)
async def test_the_request_is_decoded_and_handed_over(short_dir: Path, name: str) -> None:
    """A handler of each kind gets its request as its deserializer makes it."""
    status, received = await ask(short_dir, name, streams.message(b"oak", end=True))
    assert status == "0"
    assert frame(0, 0, 1, b"\0\0\0\0\x03oak") in received


@pytest.mark.parametrize("body", [b"", b"\0\0", b"\0\0\0\0\x09abc"], ids=["none", "prefix", "part"])
@pytest.mark.parametrize("name", TABLE)
async def test_a_call_without_a_request_is_answered(short_dir: Path, name: str, body: bytes) -> None:
    """A call that ends before its message is whole is INTERNAL, and no handler runs (H2-08)."""
    status, received = await ask(short_dir, name, frame(0, 1, 1, body))
    assert status == "13"
    assert b"ended before its message" in received


@pytest.mark.parametrize("name", TABLE)
async def test_an_unreadable_request_is_refused_without_a_word_of_ours(short_dir: Path, name: str) -> None:
    """What the deserializer does not take is INTERNAL; its exception stays in the log."""
    status, received = await ask(short_dir, name, streams.message(b"\xff", end=True))
    assert status == "13"
    assert b"cannot be parsed" in received
    assert b"UnicodeDecodeError" not in received


async def test_a_call_counts_before_its_request_has_come(short_dir: Path) -> None:
    """A call that says nothing takes a place, so that there is a bound on such calls (H2-09)."""
    gate = CallGate()
    async with streams.serving(short_dir, TABLE, gate) as listener, RawClient(listener.address) as peer:
        peer.send(0, bytes([GRPC_TYPE]) + streams.request("coroutine"))
        await streams.until(lambda: gate.running == 1)


def test_the_kind_of_a_callable_object_is_that_of_its_call() -> None:
    """A servicer's method, a function and an object with ``__call__`` are told apart alike."""

    class Callable:
        async def __call__(self, request: object, context: object) -> None: ...

    assert function_of(Callable()) is Callable.__call__
    assert function_of(coroutine) is coroutine
