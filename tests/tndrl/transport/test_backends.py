"""What happens to each stream, by its first byte (QUIC-18, 19), and to those whose service goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rogue.peer import Peer
from support import streams
from support.link import Link, UdpLink
from support.streams import ECHO_TYPE, Echo, RawClient
from tndrl.transport import http2
from tndrl.transport.codes import ErrorCode
from tndrl.transport.listener import MuxListener
from tndrl.transport.send_budget import STREAM_MOST
from tndrl.transport.tickets import Ticket

ECHO = bytes([ECHO_TYPE])


@pytest.fixture
async def stage(short_dir: Path) -> AsyncIterator[tuple[MuxListener, Echo]]:
    """Yield a listener with an echo on 0x10, and the echo."""
    async with asyncio.timeout(30), streams.listening(short_dir) as both:
        yield both


async def reset_both_ways(peer: Peer, raw: RawClient, stream_id: int, code: int) -> None:
    """Wait until a stream was reset and asked to stop, both with ``code``."""
    await peer.until(lambda: stream_id in peer.ended and stream_id in raw.stopped)
    assert (peer.ended[stream_id], raw.stopped[stream_id]) == (code, code)


async def test_silent_streams_are_reset_at_the_deadline(short_dir: Path) -> None:
    """A stream without a type byte is reset both ways, even if nothing was ever sent on it; others live on."""
    async with streams.listening(short_dir, type_timeout=0.2) as (listener, _echo):
        raw = RawClient(listener.address)
        async with raw as peer:
            for silent in (0, 4, 8):
                peer.send(silent, b"")  # opens it here only; the next one opens all below it there
            await streams.echoes(peer, 12)
            for silent in (0, 4, 8):
                await reset_both_ways(peer, raw, silent, ErrorCode.STREAM_TYPE_TIMEOUT)
            peer.send(12, http2.SETTINGS)
            await peer.until(lambda: peer.received[12] == 2 * http2.SETTINGS)
        assert listener.stats()["streams_reset.stream_type_timeout"] == 3


@pytest.mark.parametrize("count", [100, pytest.param(999, marks=pytest.mark.long)])
async def test_silent_streams_stall_nothing(stage: tuple[MuxListener, Echo], count: int) -> None:
    """While a hundred streams say nothing, another one is served at once."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer:
        for number in range(count):
            peer.send(4 * number, b"")
        async with asyncio.timeout(1):
            await streams.echoes(peer, 4 * count)
        assert listener.stats()["streams_open"] == count + 1
        assert not peer.ended


@pytest.mark.parametrize("end", [False, True], ids=["open", "ended"])
async def test_every_unknown_type_is_reset_both_ways(stage: tuple[MuxListener, Echo], end: bool) -> None:
    """Each type that nothing is bound to is refused by a code of its own, and the connection lives on."""
    listener, _echo = stage
    unknown = [kind for kind in range(256) if kind != ECHO_TYPE]
    raw = RawClient(listener.address)
    async with raw as peer:
        for number, kind in enumerate(unknown):
            peer.send(4 * number, bytes([kind]), end=end)
        for number in range(len(unknown)):
            await peer.until(lambda number=number: 4 * number in peer.ended)
        assert set(peer.ended.values()) == {ErrorCode.UNKNOWN_STREAM_TYPE}
        if not end:
            await peer.until(lambda: len(raw.stopped) == len(unknown))
            assert set(raw.stopped.values()) == {ErrorCode.UNKNOWN_STREAM_TYPE}
        await streams.echoes(peer, 4 * len(unknown))
    assert listener.stats()["streams_reset.unknown_stream_type"] == len(unknown)


async def test_an_empty_stream_lacks_its_type(stage: tuple[MuxListener, Echo]) -> None:
    """A stream that ends before its first byte is reset by a code of its own."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer:
        peer.send(0, b"", end=True)
        await peer.until(lambda: peer.ended == {0: ErrorCode.STREAM_TYPE_MISSING})
        await streams.echoes(peer, 4)
    assert listener.stats()["streams_reset.stream_type_missing"] == 1


async def test_a_type_alone_reaches_nobody(stage: tuple[MuxListener, Echo]) -> None:
    """A known type byte and the end: there is no HTTP/2, so the service hears nothing of it."""
    listener, echo = stage
    async with RawClient(listener.address) as peer:
        peer.send(0, ECHO, end=True)
        await peer.until(lambda: peer.ended == {0: ErrorCode.PREFACE_INVALID})
        await streams.echoes(peer, 4)
    assert echo.opened == 1


async def test_a_type_split_from_what_follows(stage: tuple[MuxListener, Echo]) -> None:
    """The service gets everything after the type byte and nothing before, however it is cut."""
    listener, echo = stage
    async with RawClient(listener.address) as peer:
        for piece in (ECHO, streams.HELLO[:1], streams.HELLO[1:23], streams.HELLO[23:25]):
            peer.send(0, piece)
        await echo.until(lambda it: it.received == http2.SETTINGS[:1])
        peer.send(0, streams.HELLO[25:], end=True)
        await peer.until(lambda: peer.ended == {0: None})
    assert peer.received[0] == http2.SETTINGS


async def test_refuse_answers_with_the_reason(stage: tuple[MuxListener, Echo]) -> None:
    """New streams of a refused type hear why from an HTTP/2 server; those there are get GOAWAY."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer:
        await streams.echoes(peer, 0)
        await listener.refuse(ECHO_TYPE, "closing")
        peer.send(4, ECHO + streams.request("Any"), end=True)
        await peer.until(lambda: peer.ended.get(4, 0) is None)
        assert peer.received[0] == http2.SETTINGS + http2.goaway("closing")
        assert b"grpc-status\x0214" in peer.received[4]
        assert http2.goaway("closing") in peer.received[4]
    assert listener.stats()["streams_refused"] == 1


async def test_refuse_waits_for_no_stalled_peer(stage: tuple[MuxListener, Echo]) -> None:
    """A peer that takes nothing, with its stream full to the brim, does not hold up a drain."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer:
        await streams.echoes(peer, 0)
        ((stream, _carried),) = listener._backends._bridges.items()
        peer.connection.receive_datagram = lambda *_: None
        sending = asyncio.ensure_future(stream.send(http2.frame(0, bytes(2 * STREAM_MOST))))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await listener.refuse(ECHO_TYPE, "closing")
        assert not sending.done()
        sending.cancel()


async def test_a_backend_that_is_not_there(stage: tuple[MuxListener, Echo], short_dir: Path) -> None:
    """A service that cannot be reached costs its own stream only, which hears so."""
    listener, _echo = stage
    listener.bind(0x20, str(short_dir / "nobody"))
    async with RawClient(listener.address) as peer:
        peer.send(0, b"\x20" + streams.request("Any"), end=True)
        await peer.until(lambda: 0 in peer.ended)
        assert b"cannot be reached" in peer.received[0]
        await streams.echoes(peer, 4)
    assert listener.stats()["backends_unreachable"] == 1


async def test_a_fault_costs_one_stream(
    stage: tuple[MuxListener, Echo], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of our own resets the stream it happened on, is logged, and leaves the others alone."""
    listener, _echo = stage
    async with RawClient(listener.address) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(listener._backends, "_read_type", lambda _stream: 1 / 0)
            peer.send(0, ECHO)
            await peer.until(lambda: peer.ended == {0: ErrorCode.INTERNAL})
        await streams.echoes(peer, 4)
    assert "fault in <QuicStream 0" in caplog.text


async def test_a_stream_of_nobody_is_reset(
    stage: tuple[MuxListener, Echo], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a verified peer no stream is served, whatever else went wrong."""
    listener, echo = stage
    async with RawClient(listener.address) as peer:
        (session,) = listener.sessions
        session.peer_id = None
        peer.send(0, ECHO + b"hello")
        await peer.until(lambda: peer.ended == {0: ErrorCode.INTERNAL})
    assert echo.opened == 0
    assert "fault" not in caplog.text


async def test_a_server_without_our_gate_gets_no_early_data(short_dir: Path) -> None:
    """What cannot hold calls is handed a stream when the handshake is confirmed, with all that came before."""
    async with (
        streams.listening(short_dir) as (listener, echo),
        UdpLink(listener.address, Link(1, delay=0.1)) as link,
    ):
        near, _, port = link.address.partition(":")
        tickets: list[Ticket] = []
        with streams.dialling() as client:
            first = streams.dial(client, (near, int(port)), on_ticket=tickets.append)
            await first.wait_confirmed()
            await streams.until(lambda: bool(tickets), first.ping)
            session = streams.dial(client, (near, int(port)), ticket=tickets[0])
            stream = session.open_stream()
            await stream.send(ECHO + streams.HELLO)
            await streams.until(lambda: listener.stats()["streams_open"] == 1, lambda: asyncio.sleep(0.005))
            assert (listener.stats()["early_data_accepted"], len(listener.sessions)) == (1, 1)
            await asyncio.sleep(0)
            assert echo.opened == 0
            assert await stream.receive()
            assert (echo.opened, len(listener.sessions)) == (1, 2)
            await stream.aclose()
