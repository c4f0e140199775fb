"""A stream behind its type, over streams in memory: the preface, the guard, the deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pki.spiffe import SpiffeId
from support import streams
from support.streams import frame
from tndrl.config import LimitsConfig
from tndrl.transport.codes import ErrorCode
from tndrl.transport.h2_guard import ViolationError
from tndrl.transport.http2 import PREFACE, SETTINGS, FrameGate
from tndrl.transport.inbound import FORGIVEN, RESETS_OF_PEER, Watch, carry, read_preface
from tndrl.transport.memory import MemoryStream, memory_pair

LIMITS = LimitsConfig(resets_per_second=1)
PEER = SpiffeId.parse("spiffe://tndrl/node/peer")
ACK = frame(4, 1, 0, b"")
CALL = streams.request("Any").removeprefix(PREFACE)


async def refused(sent: bytes, *, end: bool = False) -> ErrorCode:
    """Return with which code a preface is refused."""
    client, server = memory_pair()
    await client.send(sent)
    if end:
        await client.send_eof()
    with pytest.raises(ViolationError) as raised:
        async with asyncio.timeout(5):
            await read_preface(server, 0.1)
    return raised.value.code


@pytest.mark.parametrize("size", [1, 7, 23, 24])
async def test_a_preface_is_taken_however_it_is_cut(size: int) -> None:
    """The preface is read and not a byte more."""
    client, server = memory_pair()
    reading = asyncio.ensure_future(read_preface(server, 5))
    data = PREFACE + SETTINGS
    for at in range(0, len(data), size):
        await client.send(data[at : at + size])
        await asyncio.sleep(0)
    await reading
    await client.send_eof()
    rest = b""
    while more := await server.receive():
        rest += more
    assert rest == SETTINGS


async def test_no_preface_is_refused_at_once() -> None:
    """Other protocols are refused at their first byte, half a preface at its end, silence at the deadline."""
    assert await refused(b"\x16") is ErrorCode.PREFACE_INVALID
    assert await refused(PREFACE[:10], end=True) is ErrorCode.PREFACE_INVALID
    assert await refused(b"", end=True) is ErrorCode.PREFACE_INVALID
    assert await refused(PREFACE[:10]) is ErrorCode.REQUEST_TIMEOUT


class Carried:
    """A stream that is carried: what its client and its service see."""

    def __init__(self, timeout: float) -> None:
        self.client, stream = memory_pair()
        self.service, backend = memory_pair()
        self.running = asyncio.ensure_future(
            carry(stream, backend, FrameGate(), Watch(LIMITS, timeout).guard(PEER))
        )

    async def outcome(self) -> ErrorCode:
        """Return with which code the stream ends."""
        with pytest.raises(ViolationError) as raised:
            async with asyncio.timeout(5):
                await self.running
        return raised.value.code


@pytest.fixture
async def carried() -> AsyncIterator[Carried]:
    """Yield a stream whose client has 0.1 s for each step."""
    made = Carried(0.1)
    yield made
    made.running.cancel()
    await asyncio.wait([made.running])


async def exactly(stream: MemoryStream, size: int) -> bytes:
    """Return so many bytes."""
    data = b""
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return data


async def test_the_service_gets_the_preface_and_the_rest(carried: Carried) -> None:
    """Bytes pass both ways, and an orderly end is none of the guard's business."""
    await carried.client.send(CALL + ACK)
    assert await exactly(carried.service, len(PREFACE + CALL + ACK)) == PREFACE + CALL + ACK
    await carried.service.send(SETTINGS)
    assert await carried.client.receive() == SETTINGS
    await carried.client.send_eof()
    await carried.service.send_eof()
    assert await carried.running is None


@pytest.mark.parametrize(
    "sent", [b"", SETTINGS, SETTINGS + ACK, CALL], ids=["nothing", "begun", "no-call", "no-ack"]
)
async def test_each_step_has_a_deadline(carried: Carried, sent: bytes) -> None:
    """A client that does not go on is cut off."""
    if sent:
        await carried.client.send(sent)
    assert await carried.outcome() is ErrorCode.REQUEST_TIMEOUT


async def test_a_client_that_has_called_may_be_silent(carried: Carried) -> None:
    """After its first call and the acknowledgement nothing is due, until headers are left open."""
    await carried.client.send(CALL + ACK)
    done, _running = await asyncio.wait([carried.running], timeout=0.2)
    assert not done
    await carried.client.send(frame(1, 0, 3, b"x"))
    assert await carried.outcome() is ErrorCode.REQUEST_TIMEOUT


async def test_what_is_refused_does_not_reach_the_service(carried: Carried) -> None:
    """Of the bytes that break a rule nothing is passed on."""
    await carried.client.send(CALL)
    await exactly(carried.service, len(PREFACE + CALL))
    await carried.client.send(frame(3, 0, 1, bytes(4)) * 2)
    assert await carried.outcome() is ErrorCode.EXCESSIVE_LOAD
    carried.service.abort(0)


class Connection:
    """Something that streams belong to."""


def broken(code: ErrorCode = ErrorCode.EXCESSIVE_LOAD) -> ViolationError:
    """Return a violation."""
    return ViolationError(code, "a rule")


async def test_a_connection_has_so_many_streams_to_break() -> None:
    """After some broken streams the connection must go; another one is not touched by that."""
    watch, one, other = Watch(LIMITS, 1.0), Connection(), Connection()
    assert [watch.is_too_much(one, broken()) for _ in range(FORGIVEN)] == [False] * FORGIVEN
    assert watch.is_too_much(one, broken(ErrorCode.FRAME_INVALID))
    assert not watch.is_too_much(other, broken())


async def test_who_is_slow_keeps_the_connection() -> None:
    """Deadlines that pass and other protocols cost their streams only."""
    watch, one = Watch(LIMITS, 1.0), Connection()
    for code in (ErrorCode.REQUEST_TIMEOUT, ErrorCode.PREFACE_INVALID):
        assert not any(watch.is_too_much(one, broken(code)) for _ in range(2 * FORGIVEN))


async def test_streams_of_a_peer_share_its_resets() -> None:
    """A new stream is no new beginning."""
    watch, now = Watch(LIMITS, 1.0), asyncio.get_running_loop().time()
    resets, other = frame(3, 0, 1, bytes(4)), SpiffeId.parse("spiffe://tndrl/node/other")
    guards = [watch.guard(peer) for peer in [PEER] * (RESETS_OF_PEER + 1) + [other]]
    for guard in guards[:-2]:
        guard.feed(SETTINGS + resets, now + 0.01)
    with pytest.raises(ViolationError, match="too many calls reset"):
        guards[-2].feed(SETTINGS + resets, now + 0.01)
    guards[-1].feed(SETTINGS + resets, now + 0.01)
