"""The local half of a channel: who may use it, and what callers hear when the stream behind it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from rogue.peer import Peer, RogueServer
from support import leaks, streams
from support.link import Link, UdpLink
from support.refusals import retry_delay
from support.stopwatch import ROUND_TRIP, Stopwatch
from support.streams import GRPC_TYPE
from tndrl.config import LimitsConfig
from tndrl.errors import ConnectError, NoAnswerError, RefusedError, StreamRefusedError
from tndrl.transport import channels, http2
from tndrl.transport.channels import ChannelSocket, OpenStream
from tndrl.transport.dialer import MuxDialer, Target
from tndrl.transport.gate import CallGate
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.refusal import SOON

ENDED = {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


@asynccontextmanager
async def channel_socket(folder: Path, open_stream: OpenStream) -> AsyncIterator[ChannelSocket]:
    """Yield a channel's socket."""
    async with asyncio.TaskGroup() as tasks:
        made = ChannelSocket(folder / "c", open_stream, tasks)
        yield made
        await made.aclose()


@asynccontextmanager
async def failing(folder: Path, error: Exception) -> AsyncIterator[ChannelSocket]:
    """Yield a channel's socket that opens no stream, for a reason."""

    async def fail() -> object:
        raise error

    async with channel_socket(folder, fail) as made:
        yield made


async def never() -> object:
    """Open no stream."""
    await asyncio.Event().wait()


CHILD = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    try:
        print(connection.recv(1))
    except ConnectionError:
        print(b"")
"""


async def test_another_process_is_closed_at_once(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A connection of another process, be it our child, gets nothing and is counted and logged (TLS-55)."""
    opened: list[int] = []
    async with channel_socket(short_dir, lambda: opened.append(1)) as made:
        command = [sys.executable, "-c", CHILD, made.target.removeprefix("unix:")]
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await child.communicate()
        assert (output, made.refused, opened) == (b"b''\n", 1, [])
    assert "another process tried" in caplog.text


def stub(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable:
    """Return a method to call."""
    return channel.unary_unary("/test.Service/Any")


@pytest.mark.parametrize(
    "error", [NoAnswerError("b:1", 3), StreamRefusedError("full"), ConnectError("b:1", "x")]
)
async def test_a_failed_dial_is_told_to_the_call(short_dir: Path, error: Exception) -> None:
    """When there is no stream the call is UNAVAILABLE, with our words in its details."""
    async with failing(short_dir, error) as made, grpc.aio.insecure_channel(made.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub(channel)(b"", timeout=10)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert str(error) in raised.value.details()


@pytest.mark.parametrize("error", [StreamRefusedError("full"), RefusedError("b:1", "limits.connections")])
async def test_a_peer_without_room_says_when_to_try_again(short_dir: Path, error: Exception) -> None:
    """Where the peer allows no more streams or connections, each call is told when one may be free."""
    async with failing(short_dir, error) as made, grpc.aio.insecure_channel(made.target) as channel:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub(channel)(b"", timeout=10)
            assert retry_delay(raised.value) == SOON


async def test_an_identity_without_room_is_told_when_to_try_again(short_dir: Path) -> None:
    """The limit per identity is known only after the handshake: the call that went with it is told what a dial is."""
    settings = QuicSettings(limits=LimitsConfig(connections_per_identity=1))
    async with (
        streams.serving(short_dir, PING, settings=settings) as listener,
        streams.dialer() as first,
        streams.dialer() as second,
    ):
        target = streams.target(listener.address, streams.node_id("a"))
        calls = [it.channel(target, GRPC_TYPE).unary_unary("/test.Service/Ping") for it in (first, second)]
        assert await calls[0](b"x", timeout=10) == b"x"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await calls[1](b"x", timeout=10)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "limits.connectionsPerIdentity" in raised.value.details()
        assert retry_delay(raised.value) == SOON


async def test_a_local_client_without_a_call_is_let_go(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local connection that asks for nothing is closed after its deadline."""
    monkeypatch.setattr(channels, "REFUSAL_TIMEOUT", 0.05)
    async with failing(short_dir, NoAnswerError("b:1", 3)) as made:
        reader, writer = await asyncio.open_unix_connection(made.target.removeprefix("unix:"))
        assert await reader.read() == http2.SETTINGS
        writer.close()


async def test_a_fault_closes_one_connection(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An error of our own closes the connection it happened on, is logged, and the socket lives on."""
    async with failing(short_dir, ZeroDivisionError()) as made:
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(made.target.removeprefix("unix:"))
            assert await reader.read() == b""
            writer.close()
    assert caplog.text.count("fault in a channel") == 2


async def test_closing_ends_what_runs(short_dir: Path) -> None:
    """Closing the socket ends connections whose stream is not even open, and removes the file."""
    async with channel_socket(short_dir, never) as made:
        reader, writer = await asyncio.open_unix_connection(made.target.removeprefix("unix:"))
        await streams.until(lambda: bool(made._bridges))
        await made.aclose()
        assert await reader.read() == b""
        writer.close()
    assert leaks.files(short_dir) == set()


# A server that breaks off (QUIC-20, seen by the caller)


@asynccontextmanager
async def rogue_server() -> AsyncIterator[tuple[RogueServer, MuxDialer]]:
    """Yield a raw server with a valid certificate, and a dialer."""
    async with RogueServer(streams.honest("rogue")) as server, streams.dialer() as dialer:
        yield server, dialer


def break_off(peer: Peer, how: str) -> None:
    """End the first stream in one of the ways there are."""
    if how in ("reset", "both"):
        peer.connection.reset_stream(0, 8)
    if how in ("stop", "both"):
        peer.connection.stop_stream(0, 8)
    if how == "end":
        peer.connection.send_stream_data(0, b"", end_stream=True)
    if how == "close":
        peer.connection.close(error_code=6, reason_phrase="for today")
    peer.pump()


RESPONSE = streams.headers({":status": "200", "content-type": "application/grpc"}) + streams.message(b"part")


async def receive_call(server: RogueServer) -> Peer:
    """Play the server until the first call has come in whole."""
    peer = await server.peer()
    await peer.until(lambda: peer.received[0].endswith(bytes(98) + b"no"))
    peer.send(0, http2.SETTINGS)
    return peer


@pytest.mark.parametrize("when", ["mid-request", "mid-response"])
@pytest.mark.parametrize("how", ["reset", "both", "end", "close"])
async def test_a_server_that_breaks_off_ends_the_call(how: str, when: str) -> None:
    """However the stream or its connection ends under a call, the call ends CANCELLED or UNAVAILABLE at once."""
    async with rogue_server() as (server, dialer), asyncio.timeout(5):
        channel = dialer.channel(streams.target(server.address, streams.node_id("rogue")), 0x10)
        call = channel.unary_stream("/test.Service/Any")(bytes(98) + b"no")
        peer = await receive_call(server)
        if when == "mid-response":
            peer.send(0, RESPONSE)
            assert await call.read() == b"part"
        break_off(peer, how)
        async with asyncio.timeout(1):
            assert await call.code() in ENDED


async def test_a_server_may_answer_what_it_does_not_listen_to() -> None:
    """A server that asks to send no more, and then answers, is heard to the end."""
    async with rogue_server() as (server, dialer), asyncio.timeout(5):
        channel = dialer.channel(streams.target(server.address, streams.node_id("rogue")), 0x10)
        call = channel.unary_stream("/test.Service/Any")(bytes(98) + b"no")
        peer = await receive_call(server)
        break_off(peer, "stop")
        status = {":status": "200", "content-type": "application/grpc", "grpc-status": "5"}
        peer.send(0, streams.headers(status, end=True), end=True)
        assert await call.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("how", "words"),
    [("reset", "stream reset by the peer"), ("close", "closed by the peer (SHUTDOWN): for today")],
)
async def test_the_call_hears_why(how: str, words: str) -> None:
    """The details of a call that ended under way name the reason."""
    async with rogue_server() as (server, dialer), asyncio.timeout(5):
        channel = dialer.channel(streams.target(server.address, streams.node_id("rogue")), 0x10)
        call = channel.unary_stream("/test.Service/Any")(bytes(98) + b"no")
        peer = await receive_call(server)
        break_off(peer, how)
        assert words in await call.details()


# The first call does not wait for the server's SETTINGS


async def ping(request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
    return request


PING = {"Ping": grpc.unary_unary_rpc_method_handler(ping)}


@asynccontextmanager
async def far_away(folder: Path) -> AsyncIterator[Target]:
    """Yield a service at the other end of a slow link."""
    async with (
        streams.serving(folder, PING) as listener,
        UdpLink(listener.address, Link(1, delay=ROUND_TRIP / 2)) as link,
    ):
        yield streams.target(link.address, streams.node_id("a"))


async def test_a_first_call_takes_two_round_trips(short_dir: Path) -> None:
    """One for the handshake and one for the call; a first call on another channel afterwards takes a single one."""
    async with far_away(short_dir) as target:
        first, other = Stopwatch(2), Stopwatch(1)
        while first.goes_on or other.goes_on:
            async with streams.dialer() as dialer:
                for watch in (first, other):
                    call = dialer.channel(target, GRPC_TYPE).unary_unary("/test.Service/Ping")
                    with watch:
                        assert await call(b"x", timeout=10) == b"x"
    assert (first.round_trips, other.round_trips) == (2, 1)


async def test_calls_at_once_on_a_cold_channel(short_dir: Path) -> None:
    """Of 500 calls at once on a channel that is not connected none fails, though a stream carries 100."""
    async with far_away(short_dir) as target, streams.dialer() as dialer:
        call = dialer.channel(target, GRPC_TYPE).unary_unary("/test.Service/Ping")
        names = [str(index).encode() for index in range(500)]
        assert await asyncio.gather(*(call(name, timeout=20) for name in names)) == names


async def test_the_servers_own_settings_count(short_dir: Path) -> None:
    """What the server says when it is there is acknowledged to it: otherwise it would give the connection up."""
    async with rogue_server() as (server, dialer), asyncio.timeout(5):
        channel = dialer.channel(streams.target(server.address, streams.node_id("rogue")), 0x10)
        call = channel.unary_stream("/test.Service/Any")(bytes(98) + b"no")
        peer = await server.peer()
        await peer.until(lambda: peer.received[0].endswith(bytes(98) + b"no"))
        acknowledged = streams.frame(4, 1, 0, b"")
        assert acknowledged not in peer.received[0]
        peer.send(0, http2.SETTINGS)
        await peer.until(lambda: acknowledged in peer.received[0])
        call.cancel()


@pytest.mark.parametrize("limit", [1, 10])
async def test_calls_at_once_to_a_server_that_takes_few(short_dir: Path, limit: int) -> None:
    """Whatever a server takes at once, a burst on a cold channel keeps to it, and so does one on the next channel."""
    gate = CallGate(limits=LimitsConfig(calls_per_stream=limit))
    async with (
        streams.serving(short_dir, PING, gate) as listener,
        UdpLink(listener.address, Link(1, delay=0.05)) as link,
        streams.dialer() as dialer,
    ):
        target = streams.target(link.address, streams.node_id("a"))
        for _ in range(2):
            call = dialer.channel(target, GRPC_TYPE).unary_unary("/test.Service/Ping")
            names = [str(index).encode() for index in range(5 * limit)]
            assert await asyncio.gather(*(call(name, timeout=20) for name in names)) == names
        assert gate.refused == 0
