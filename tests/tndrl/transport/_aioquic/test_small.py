"""The shortest way for calls: it sends what aioquic's own would, to which it leaves whatever else is due."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import getsource, signature
from typing import Any

import pytest
from aioquic.quic import packet
from aioquic.quic.connection import QuicConnection

from support import streams
from support.carried import leave_none_out
from support.link import Link, UdpLink
from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.small import SmallPackets
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream

SMALL = QuicSettings(max_datagram=1452)


class Written:
    """Counts the packets that were written the short way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = 0
        self.acks = 0
        original = SmallPackets._sent

        def write(connection: SmallPackets, *arguments: Any, has_data: bool) -> Any:
            self.packets += 1
            self.acks += not has_data
            return original(connection, *arguments, has_data=has_data)

        monkeypatch.setattr(SmallPackets, "_sent", write)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """Return the count of packets written the short way."""
    return Written(monkeypatch)


@asynccontextmanager
async def quiet(settings: QuicSettings = SMALL) -> AsyncIterator[tuple[streams.Quic, QuicStream, QuicStream]]:
    """Yield a connection whose search for the path's size is over, and both ends of a stream."""
    async with asyncio.timeout(20), streams.connected(settings) as quic:
        near, far = await quic.streams()
        ends = (near._quic, far._quic)
        await streams.until(
            lambda: all(end._path_mtu.is_quiet(0.0) or end.path_mtu.size == 1452 for end in ends),
            quic.exchange,
        )
        for end in ends:
            leave_none_out(end)
        await streams.until(
            lambda: all(end._is_plain(asyncio.get_running_loop().time()) for end in ends), quic.exchange
        )
        yield quic, near, far


async def call(near: QuicStream, far: QuicStream, data: bytes) -> None:
    """Send data there and back."""
    for source, sink in ((near, far), (far, near)):
        await source.send(data)
        received = b""
        while len(received) < len(data):
            received += await sink.receive()
        assert received == data


async def test_calls_go_the_short_way(written: Written) -> None:
    """Nearly all packets of small calls are written so, byte for byte."""
    async with quiet() as (_quic, near, far):
        before = near._quic._packet_number + far._quic._packet_number
        written.packets = 0
        for _ in range(100):
            await call(near, far, os.urandom(200))
        sent = near._quic._packet_number + far._quic._packet_number - before
        assert sent <= 220
        assert written.packets >= 0.9 * sent


async def test_a_late_acknowledgement_goes_alone(written: Written) -> None:
    """An acknowledgement that found no company is a packet of its own, which asks for none."""
    async with quiet() as (_quic, near, far):
        written.acks = 0
        await near.send(b"x")
        await far.receive()
        space = near._quic._loss.spaces[-1]
        await streams.until(lambda: not space.sent_packets, lambda: asyncio.sleep(0.005))
        assert written.acks >= 1
        assert far._quic._loss.bytes_in_flight == 0


async def test_what_is_lost_is_sent_again(written: Written) -> None:
    """Packets written so are acknowledged, lost and repaired as any other."""
    async with (
        asyncio.timeout(40),
        streams.accepting(SMALL) as server,
        UdpLink(f"127.0.0.1:{server.endpoint.address[1]}", Link(7, loss=0.05)) as relay,
    ):
        with streams.dialling(SMALL) as client:
            host, port = relay.address.split(":")
            session = streams.dial(client, (host, int(port)))
            await session.wait_confirmed()
            quic = streams.Quic(
                session, await server.confirmed.get(), client, server.endpoint, server.accepted
            )
            near, far = await quic.streams()
            for _ in range(100):
                await call(near, far, os.urandom(100))
            assert written.packets > 50


async def test_the_end_of_a_stream(written: Written) -> None:
    """Data with its end, and an end alone, arrive."""
    async with quiet() as (quic, near, far):
        await near.send(b"last")
        await near.send_eof()
        assert await far.receive() == b"last"
        assert await far.receive() == b""
        await quic.exchange()
        await far.send_eof()
        assert await near.receive() == b""


@pytest.mark.parametrize("whose", ["stream", "connection"])
async def test_the_peers_credit_is_kept(written: Written, whose: str) -> None:
    """Neither the stream's limit nor the connection's is exceeded (RFC 9000 section 4.1)."""
    async with quiet() as (_quic, near, _far):
        connection, now = near._quic, asyncio.get_running_loop().time()
        stream = connection._streams[near.stream_id]
        highest = stream.sender.highest_offset
        if whose == "stream":
            stream.max_stream_data_remote = highest + 10
        else:
            connection._remote_max_data = connection._remote_max_data_used + 10
        connection.send_stream_data(near.stream_id, bytes(50))
        written.packets = 0
        assert len(connection.datagrams_to_send(now=now)) == 1
        assert (written.packets, stream.sender.highest_offset) == (1, highest + 10)
        assert connection.datagrams_to_send(now=now) == []


async def test_keys_are_updated_on_the_way(written: Written) -> None:
    """The key phase of each packet is the one that it is encrypted with (RFC 9001 section 6)."""
    async with quiet() as (quic, near, far):
        for _ in range(3):
            await call(near, far, b"x" * 100)
            near._quic.request_key_update()
            await call(near, far, b"y" * 100)
            await quic.exchange()


async def test_keys_wear_out_here_too(written: Written) -> None:
    """Packets written so count for the life of a key."""
    settings = QuicSettings(max_datagram=1452, limits=LimitsConfig(packets_per_key=100))
    async with quiet(settings) as (_quic, near, far):
        for _ in range(150):
            await call(near, far, b"x")
        assert near._quic._keys_since > 0
        assert written.packets > 100


async def test_the_window_is_kept(written: Written) -> None:
    """With a full congestion window nothing but acknowledgements leaves."""
    async with quiet() as (_quic, near, _far):
        connection = near._quic
        connection._loss._cc.congestion_window = connection._loss.bytes_in_flight
        connection.send_stream_data(near.stream_id, b"x")
        written.packets = 0
        now = asyncio.get_running_loop().time()
        assert connection.datagrams_to_send(now=now) == []
        assert written.packets == 0


async def test_a_call_waits_for_room_for_a_full_packet(written: Written) -> None:
    """Where the window has room for less, an acknowledgement that is due leaves alone, and the call when it has."""
    async with quiet() as (_quic, near, far):
        connection = near._quic
        await far.send(b"two that")
        await near.receive()
        await far.send(b"ask for one")
        await near.receive()
        control = connection._loss._cc
        control.bytes_in_flight = control.congestion_window - 1000
        connection.send_stream_data(near.stream_id, b"call")
        sender, now = connection._streams[near.stream_id].sender, asyncio.get_running_loop().time()
        connection.datagrams_to_send(now=now)
        assert connection.datagrams_to_send(now=now) == []
        assert len(sender._pending) == 1
        control.bytes_in_flight -= 1000
        assert connection.datagrams_to_send(now=now)
        assert len(sender._pending) == 0


async def test_a_window_of_less_than_a_packet_holds_nobody_up() -> None:
    """A path that carries large packets may have a window that holds none of them: calls go on, within it."""
    async with quiet(QuicSettings()) as (quic, near, _far):
        await streams.until(lambda: near._quic.path_mtu.size == 16383, quic.exchange)
        await quic.exchange()
        connection, now = near._quic, asyncio.get_running_loop().time()
        connection._loss._pacer.packet_time = None
        connection._loss._cc.congestion_window = connection._loss.bytes_in_flight + 8000
        for _ in range(3):
            connection.send_stream_data(near.stream_id, bytes(1000))
            assert connection.datagrams_to_send(now=now)
        connection.send_stream_data(near.stream_id, bytes(10_000))
        connection.datagrams_to_send(now=now)
        assert connection._loss.bytes_in_flight <= connection._loss.congestion_window


@pytest.mark.parametrize(
    "what",
    [
        lambda connection: connection.send_ping(1),
        lambda connection: setattr(connection, "_probe_pending", True),
        lambda connection: connection._retire_connection_ids.append(0),
        lambda connection: setattr(connection, "_handshake_done_pending", True),
        lambda connection: setattr(connection._local_max_data, "value", connection._local_max_data.value + 1),
        lambda connection: setattr(connection, "_challenge_due", True),
        lambda connection: setattr(connection._loss, "_pto_count", 1),
        lambda connection: setattr(
            connection, "_keys_since", connection._packet_number - connection._limits.packets_per_key
        ),
        lambda connection: connection.close(),
    ],
    ids=[
        "ping",
        "probe",
        "retired ID",
        "confirmation",
        "credit",
        "challenge",
        "timeout",
        "worn keys",
        "close",
    ],
)
async def test_anything_else_goes_the_old_way(written: Written, what: Any) -> None:
    """Whatever else is due is not forgotten."""
    async with quiet() as (_quic, near, _far):
        connection = near._quic
        assert connection._is_plain(asyncio.get_running_loop().time())
        what(connection)
        assert not connection._is_plain(asyncio.get_running_loop().time())


# What aioquic must still have

DIGESTS = {
    "datagrams_to_send": "f4eb22c8add260fe863a12c5ccc3b77887a1c93da3c7e0236722e2d5263560f5",
    "_write_application": "c37bf64378f72b2f93f2f1b01f67bd8c5cb9c042ab908ca7fda80f2ae92cdc0b",
    "_write_ack_frame": "dc0bde63adda7ae410b18806e21938cf8824377da3a6c5bc042edb8811fc92a0",
    "_flush_builder": "ac4bd66d7c3892dfcbf50705c53660390e1c6d5e0cadf24ffc375dee3dc14d05",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_aioquic_sends_as_it_did(name: str) -> None:
    """The way that is shortened is the one that was read; when this fails, compare both and put in the new digest."""
    assert hashlib.sha256(getsource(getattr(QuicConnection, name)).encode()).hexdigest() == DIGESTS[name]


def test_aioquic_has_the_rest() -> None:
    """What is called is there."""
    assert list(signature(packet.push_ack_frame).parameters) == ["buf", "rangeset", "delay", "capacity"]
