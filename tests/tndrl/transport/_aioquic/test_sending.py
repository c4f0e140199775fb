"""Packets full of one stream's data each: they say what aioquic's own would, and keep to every limit."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import getsource, signature

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicSentPacket
from aioquic.quic.stream import QuicStreamSender

from support import streams
from support.link import Link, UdpLink
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport._aioquic.sending import BulkPackets
from tndrl.transport.priority import Priority
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream

ETHERNET = QuicSettings(max_datagram=1452)
MEGABYTE = os.urandom(1_000_000)


class Written:
    """Counts the packets that were written the short way, with their sizes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = 0
        original = BulkPackets._write_bulk

        def write(connection: BulkPackets, builder: QuicPacketBuilder, now: float) -> bool:
            before = len(builder._packets)
            is_room_left = original(connection, builder, now)
            self.packets += len(builder._packets) - before
            return is_room_left

        monkeypatch.setattr(BulkPackets, "_write_bulk", write)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """Return the count of packets written the short way."""
    return Written(monkeypatch)


@asynccontextmanager
async def linked(link: Link) -> AsyncIterator[streams.Quic]:
    """Yield a confirmed connection over a link."""
    async with (
        asyncio.timeout(40),
        streams.accepting(ETHERNET) as server,
        UdpLink(f"127.0.0.1:{server.endpoint.address[1]}", link) as relay,
    ):
        with streams.dialling(ETHERNET) as client:
            host, port = relay.address.split(":")
            session = streams.dial(client, (host, int(port)))
            await session.wait_confirmed()
            accepted = await server.confirmed.get()
            yield streams.Quic(session, accepted, client, server.endpoint, server.accepted)


async def receive_all(stream: QuicStream) -> bytes:
    """Return everything to the end."""
    received = bytearray()
    while data := await stream.receive():
        received += data
    return bytes(received)


async def send_all(stream: QuicStream, data: bytes) -> None:
    """Send everything and the end."""
    await stream.send(data)
    await stream.send_eof()


@pytest.mark.parametrize("settings", [ETHERNET, QuicSettings()], ids=["1452", "16383"])
async def test_everything_arrives_and_ends(settings: QuicSettings, written: Written) -> None:
    """Much data goes the short way, byte for byte, with its end."""
    async with asyncio.timeout(40), streams.connected(settings) as quic:
        near, far = await quic.streams()
        _, received = await asyncio.gather(send_all(far, MEGABYTE), receive_all(near))
        assert received == MEGABYTE
        assert written.packets > len(MEGABYTE) / settings.max_datagram / 2


async def test_what_is_lost_is_sent_again(written: Written) -> None:
    """Packets that were written the short way are acknowledged, lost and repaired as any other."""
    async with linked(Link(7, loss=0.03)) as quic:
        near, far = await quic.streams()
        _, received = await asyncio.gather(send_all(far, MEGABYTE), receive_all(near))
        assert received == MEGABYTE
        assert written.packets > 100
        await streams.until(lambda: not far._quic.is_sending(far.stream_id), lambda: asyncio.sleep(0.01))


async def test_keys_are_updated_on_the_way(written: Written) -> None:
    """The key phase of each packet is the one that it is encrypted with (RFC 9001 section 6)."""
    async with asyncio.timeout(40), streams.connected(ETHERNET) as quic:
        near, far = await quic.streams()
        sending = asyncio.ensure_future(send_all(far, MEGABYTE))
        received = bytearray()
        for _ in range(3):
            while len(received) < 200_000:
                received += await near.receive()
            far._quic.request_key_update()
            phase = near._quic._cryptos[tls.Epoch.ONE_RTT].key_phase
        received += await receive_all(near)
        await sending
        assert bytes(received) == MEGABYTE
        assert phase in (0, 1)
        assert written.packets > 100


def ready(stream: QuicStream, data: bytes) -> Callable[[], list[bytes]]:
    """Queue data without sending it; returns what sends."""
    stream._quic.send_stream_data(stream.stream_id, data)
    now = asyncio.get_running_loop().time()
    return lambda: [datagram for datagram, _address in stream._quic.datagrams_to_send(now=now)]


@asynccontextmanager
async def idle() -> AsyncIterator[tuple[streams.Quic, QuicStream]]:
    """Yield a connection at 1,452 bytes on which nothing is under way, and the server's end of a stream."""
    async with asyncio.timeout(20), streams.connected(ETHERNET) as quic:
        near, far = await quic.streams()
        await near.send(b"?")
        await streams.until(lambda: far._quic.path_mtu.size == 1452, quic.exchange)
        await quic.exchange()
        yield quic, far


async def test_the_window_is_kept(written: Written) -> None:
    """No more is in flight than the congestion window allows, and nearly all of that."""
    async with idle() as (_quic, far):
        recovery = far._quic._loss
        recovery._cc.congestion_window = 100_000
        recovery._pacer.packet_time = None
        flight = recovery.bytes_in_flight
        sent = sum(map(len, ready(far, MEGABYTE)()))
        assert 97_000 < flight + sent <= 100_000
        assert recovery.bytes_in_flight == flight + sent
        assert written.packets > 60


async def test_the_peer_s_credit_is_kept(written: Written) -> None:
    """Neither the stream's limit nor the connection's is exceeded (RFC 9000 section 4.1)."""
    async with idle() as (_quic, far):
        connection, stream = far._quic, far._quic._streams[far.stream_id]
        connection._loss._cc.congestion_window = 1 << 30
        connection._loss._pacer.packet_time = None
        stream.max_stream_data_remote = stream.sender.highest_offset + 50_000
        used = connection._remote_max_data_used
        ready(far, MEGABYTE)()
        assert stream.sender.highest_offset == stream.max_stream_data_remote
        assert connection._remote_max_data_used == used + 50_000
        stream.max_stream_data_remote = 1 << 40
        connection._remote_max_data = connection._remote_max_data_used + 20_000
        ready(far, b"")()
        assert connection._remote_max_data_used == connection._remote_max_data
        assert written.packets > 30


async def test_the_pace_is_kept(written: Written) -> None:
    """What the pacer holds back waits for its time."""
    async with idle() as (_quic, far):
        recovery = far._quic._loss
        recovery._cc.congestion_window = 1 << 30
        recovery._pacer.update_rate(10_000_000, 1.0)  # 10 MB/s, of which 2 ms are less than 16 packets
        recovery._pacer.evaluation_time = 0.0  # after a long pause
        sent = ready(far, MEGABYTE)()
        assert 16 <= len(sent) <= 20
        assert far._quic._pacing_at is not None
        assert written.packets > 10


async def two_ready(quic: streams.Quic) -> tuple[AuthenticatedConnection, list[QuicStreamSender]]:
    """Queue much data on two streams of the server, without sending it."""
    pairs = [await quic.streams() for _ in range(2)]
    for near, far in pairs:
        await near.send(b"?")
        await far.receive()
    await streams.until(lambda: pairs[0][1]._quic.path_mtu.size == 1452, quic.exchange)
    await quic.exchange()
    connection = pairs[0][1]._quic
    connection._loss._cc.congestion_window = 1 << 30
    connection._loss._pacer.packet_time = None
    for _near, far in pairs:
        connection.send_stream_data(far.stream_id, bytes(100_000))
    return connection, [connection._streams[far.stream_id].sender for _near, far in pairs]


async def test_two_streams_take_turns(written: Written) -> None:
    """Of two streams with much to send neither is ahead of the other by more than a packet."""
    async with asyncio.timeout(20), streams.connected(ETHERNET) as quic:
        connection, senders = await two_ready(quic)
        connection._loss._cc.congestion_window = connection._loss.bytes_in_flight + 21 * 1452
        written.packets = 0
        assert connection.datagrams_to_send(now=asyncio.get_running_loop().time())
        assert written.packets >= 20
        assert abs(senders[0].highest_offset - senders[1].highest_offset) <= 1452


async def test_the_urgent_stream_goes_first(written: Written) -> None:
    """While a stream of a higher class has something to send, one of a lower class waits."""
    async with asyncio.timeout(20), streams.connected(ETHERNET) as quic:
        connection, senders = await two_ready(quic)
        connection.prioritize(senders[1]._stream_id, Priority.HIGH)
        connection._loss._cc.congestion_window = connection._loss.bytes_in_flight + 21 * 1452
        before = senders[0].highest_offset
        assert connection.datagrams_to_send(now=asyncio.get_running_loop().time())
        assert written.packets >= 20
        assert senders[0].highest_offset == before
        assert senders[1].highest_offset > 20 * 1300


async def test_what_fills_no_packet_goes_as_ever(written: Written) -> None:
    """The rest of what was sent in full packets follows in one that is smaller."""
    async with idle() as (_quic, far):
        far._quic._loss._pacer.packet_time = None
        full, rest = map(len, ready(far, bytes(2000))())
        assert full == 1452
        assert 2000 < full + rest < 2100
        assert written.packets == 1


# What aioquic must still have

DIGESTS = {
    "_write_application": "c37bf64378f72b2f93f2f1b01f67bd8c5cb9c042ab908ca7fda80f2ae92cdc0b",
    "_write_stream_frame": "9bc0be962394a322216fedcf71a7da3e4941c01b64779e730e806a95d4935e00",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_aioquic_sends_as_it_did(name: str) -> None:
    """The way that is shortened is the one that was read; when this fails, compare both and put in the new digest."""
    assert hashlib.sha256(getsource(getattr(QuicConnection, name)).encode()).hexdigest() == DIGESTS[name]


def test_aioquic_has_the_rest() -> None:
    """What is called or set is there."""
    assert list(signature(CryptoPair.encrypt_packet).parameters) == [
        "self", "plain_header", "plain_payload", "packet_number"
    ]  # fmt: skip
    assert list(signature(QuicStreamSender.get_frame).parameters) == ["self", "max_size", "max_offset"]
    assert list(signature(QuicSentPacket).parameters)[:8] == [
        "epoch", "in_flight", "is_ack_eliciting", "is_crypto_packet", "packet_number", "packet_type", "sent_time",
        "sent_bytes",
    ]  # fmt: skip
    builder = QuicPacketBuilder(host_cid=b"", peer_cid=b"", version=1, is_client=True, max_datagram_size=1200)
    assert (builder._packet, builder._packets, builder._datagrams) == (None, [], [])
    assert (builder._flight_bytes, builder._packet_number, builder.max_flight_bytes) == (0, 0, None)
