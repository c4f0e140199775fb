"""Datagrams that follow the path: on real sockets, behind a link that carries only so much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import signature

import pytest
from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, QuicTransportParameters, push_quic_transport_parameters
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketRecovery

from support import streams
from support.link import Direction, Link, UdpLink
from tndrl.transport import mtu as mtu_module
from tndrl.transport import udp
from tndrl.transport._aioquic.path_mtu import ProbedReno
from tndrl.transport.mtu import BASE, PathMtu
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session

ETHERNET = QuicSettings(max_datagram=1452)


@asynccontextmanager
async def linked(
    link: Link, settings: QuicSettings = ETHERNET
) -> AsyncIterator[tuple[streams.Quic, UdpLink]]:
    """Yield a confirmed connection over a link."""
    async with (
        asyncio.timeout(30),
        streams.accepting(settings) as server,
        UdpLink(f"127.0.0.1:{server.endpoint.address[1]}", link, logging=True) as relay,
    ):
        with streams.dialling(settings) as client:
            host, port = relay.address.split(":")
            session = streams.dial(client, (host, int(port)))
            await session.wait_confirmed()
            accepted = await server.confirmed.get()
            yield streams.Quic(session, accepted, client, server.endpoint, server.accepted), relay


def sizes(*sessions: Session) -> list[int]:
    """Return what each side sends at most."""
    return [session._quic.path_mtu.size for session in sessions]


async def transfer(quic: streams.Quic, size: int = 200_000) -> None:
    """Send bytes both ways and check that they arrive."""
    near, far = await quic.streams()
    data = os.urandom(size)
    for sender, receiver in ((near, far), (far, near)):
        sending = asyncio.ensure_future(sender.send(data))
        received = bytearray()
        while len(received) < size:
            received += await receiver.receive()
        await sending
        assert received == data


async def until_sizes(quic: streams.Quic, size: int) -> None:
    """Exchange datagrams until both sides send so much."""
    await streams.until(lambda: sizes(quic.client, quic.server) == [size, size], quic.exchange)


async def test_datagrams_grow_to_what_the_route_carries() -> None:
    """On the loopback interface both sides soon send the largest datagrams there are."""
    async with streams.connected() as quic:
        await until_sizes(quic, 16383)
        await transfer(quic)
        assert quic.client._quic._max_datagram_size == quic.server._quic._max_datagram_size == 16383


@pytest.mark.parametrize("largest", [1200, 1300, 1452])
async def test_no_datagram_is_larger_than_the_setting(largest: int) -> None:
    """``transport.maxDatagram`` is kept by probes too, and is used in full."""
    async with linked(Link(1), QuicSettings(max_datagram=largest)) as (quic, relay):
        await until_sizes(quic, largest)
        await transfer(quic)
        assert max(seen.size for seen in relay.log) == largest


async def test_before_the_path_is_known_nothing_is_larger_than_1200_bytes() -> None:
    """The handshake has the size that every path carries; only probes are larger until one has passed."""
    async with linked(Link(1, mtu=1250)) as (quic, relay):
        await transfer(quic)
        counts = [relay.link.lines[direction].counts["too large"] for direction in Direction]
        assert all(0 < count <= 60 for count in counts)
        assert max(sizes(quic.client, quic.server)) <= 1250
        assert quic.client._quic.path_mtu.black_holes == 0


async def test_what_the_peer_takes_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer's max_udp_payload_size bounds what is sent to it (RFC 9000 section 18.2)."""
    original = QuicConnection._serialize_transport_parameters

    def serialize(self: QuicConnection) -> bytes:
        buffer = Buffer(capacity=100)
        push_quic_transport_parameters(buffer, QuicTransportParameters(max_udp_payload_size=1300))
        return original(self) + (buffer.data if not self._is_client else b"")

    monkeypatch.setattr(QuicConnection, "_serialize_transport_parameters", serialize)
    async with linked(Link(1)) as (quic, relay):
        await streams.until(lambda: sizes(quic.client, quic.server) == [1300, 1452], quic.exchange)
        await transfer(quic)
        assert max(seen.size for seen in relay.log if seen.direction is Direction.TO_NODE) == 1300


async def test_large_datagrams_that_vanish_are_sent_no_more() -> None:
    """When the path narrows under a live connection, everything still arrives, in small datagrams (RFC 8899 4.3)."""
    async with linked(Link(1)) as (quic, relay):
        await until_sizes(quic, 1452)
        relay.link.narrow(1300)
        await transfer(quic)
        assert sizes(quic.client, quic.server) == [BASE, BASE]
        assert quic.client._quic.path_mtu.black_holes == quic.server._quic.path_mtu.black_holes == 1


async def test_after_a_black_hole_the_search_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the narrowed path carries is found after a pause."""
    monkeypatch.setattr(mtu_module, "SEARCH_AGAIN", 0.05)
    async with linked(Link(1)) as (quic, relay):
        await until_sizes(quic, 1452)
        relay.link.narrow(1400)
        await transfer(quic)
        await streams.until(
            lambda: all(1384 <= size <= 1400 for size in sizes(quic.client, quic.server)), quic.exchange
        )


async def test_an_outage_makes_nothing_smaller() -> None:
    """When nothing passes for a while, size is not to blame."""
    async with linked(Link(1)) as (quic, relay):
        await until_sizes(quic, 1452)
        near, far = await quic.streams()
        await near.send(bytes(100_000))
        relay.black_out(0.3)
        received = 0
        while received < 100_000:
            received += len(await far.receive())
        assert sizes(quic.client) == [1452]


async def test_another_path_is_searched_anew() -> None:
    """After the client's address changed the server knows nothing of the path, and finds out again."""
    async with linked(Link(1)) as (quic, relay):
        await until_sizes(quic, 1452)
        before = quic.server._quic.path_mtu
        relay.rebind()
        await until_sizes(quic, 1452)
        await streams.until(lambda: quic.server._quic.path_mtu is not before, quic.exchange)
        await until_sizes(quic, 1452)
        before = quic.client._quic.path_mtu
        quic.client._quic.search_anew()
        await streams.until(lambda: quic.client._quic.path_mtu is not before, quic.exchange)
        await until_sizes(quic, 1452)


async def test_a_lost_probe_is_no_congestion() -> None:
    """Probes that vanish leave the congestion window alone (RFC 9000 section 14.4)."""
    async with linked(Link(1, mtu=1200)) as (quic, _relay):
        await streams.until(lambda: quic.client._quic.path_mtu._search_at > 1000, quic.exchange)
        recovery = quic.client._quic._loss
        assert recovery._cc.ssthresh is None
        assert recovery._cc.bytes_in_flight == 0
        assert not recovery._cc.probes


async def test_where_fragments_cannot_be_forbidden_datagrams_stay_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A system that may fragment hides what a path carries."""
    monkeypatch.setattr(udp, "forbid_fragments", lambda _sock: False)
    async with streams.connected() as quic:
        await transfer(quic)
        assert sizes(quic.client, quic.server) == [BASE, BASE]


def packet(number: int, size: int = 1452, epoch: tls.Epoch = tls.Epoch.ONE_RTT) -> QuicSentPacket:
    """Return a packet that was sent."""
    kind = QuicPacketType.ONE_RTT
    return QuicSentPacket(epoch, True, True, False, number, kind, sent_time=1.0, sent_bytes=size)


def test_a_probe_lost_with_data_is_left_out() -> None:
    """Of packets lost at once, data is congestion and the probe among them is not."""
    congestion = ProbedReno(PathMtu(1452))
    for number in (1, 2):
        congestion.on_packet_sent(packet=packet(number))
    congestion.probes.add(1)
    congestion.on_packets_lost(now=2.0, packets=[packet(1)])
    assert congestion.ssthresh is None
    congestion.on_packets_lost(now=2.0, packets=[packet(2)])
    assert congestion.ssthresh is not None
    assert (congestion.bytes_in_flight, congestion.probes) == (0, set())


def test_only_packets_of_the_path_speak_of_it() -> None:
    """What the handshake lost or got through says nothing of large packets."""
    path_mtu = PathMtu(1452)
    path_mtu.probe_acked(path_mtu.next_probe(0))
    congestion = ProbedReno(path_mtu)
    congestion.on_packet_acked(now=1.0, packet=packet(9, 100, tls.Epoch.HANDSHAKE))
    congestion.on_packets_lost(now=1.0, packets=[packet(number) for number in range(5)])
    assert path_mtu.size == 1452


def round_trip(congestion: ProbedReno, begin: int, count: int) -> int:
    """Send so many packets, have all acknowledged, and return the next number."""
    for number in range(begin, begin + count):
        congestion.on_packet_sent(packet=packet(number, 1200))
    for number in range(begin, begin + count):
        congestion.on_packet_acked(now=2.0, packet=packet(number, 1200))
    return begin + count


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """A thousand packets, one in flight at a time, say nothing of what the path carries (RFC 9002 section 7.8)."""
    congestion = ProbedReno(PathMtu(1452))
    window, number = congestion.congestion_window, 0
    for _ in range(1000):
        number = round_trip(congestion, number, 1)
    assert (congestion.congestion_window, congestion.bytes_in_flight) == (window, 0)


def test_a_window_that_is_full_doubles() -> None:
    """All that a full window brought through makes it larger, what was sent before it was full too."""
    congestion = ProbedReno(PathMtu(1452))
    window = congestion.congestion_window
    round_trip(congestion, 0, window // 1200)
    assert congestion.congestion_window == 2 * window


# What aioquic must still have


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (QuicConnection, "datagrams_to_send", ["self", "now"]),
        (QuicConnection, "_parse_transport_parameters", ["self", "data", "from_session_ticket"]),
        (QuicConnection, "_flush_builder", ["self", "builder", "network_path", "peer_cid", "now"]),
        (RenoCongestionControl, "on_packet_acked", ["self", "now", "packet"]),
        (RenoCongestionControl, "on_packet_sent", ["self", "packet"]),
        (RenoCongestionControl, "on_packets_lost", ["self", "now", "packets"]),
        (RenoCongestionControl, "on_packets_expired", ["self", "packets"]),
        (QuicPacketRecovery, "on_ack_received", ["self", "ack_rangeset", "ack_delay", "now", "space"]),
    ],
)
def test_aioquic_has_the_method(owner: type, name: str, parameters: list[str]) -> None:
    """A method that is overridden or called exists with the same arguments."""
    assert list(signature(getattr(owner, name)).parameters) == parameters


async def test_aioquic_has_the_state() -> None:
    """What is read or set on a connection is there, with the meaning it had."""
    async with streams.connected(ETHERNET) as quic:
        connection = quic.client._quic
        assert isinstance(connection._loss._cc, ProbedReno)
        assert connection._loss._cc is connection._congestion
        assert connection._loss._pto_count == 0
        assert connection._network_paths[0].is_validated
        assert connection._handshake_confirmed
        plain = QuicConnection(configuration=connection.configuration)
        assert isinstance(plain._loss._cc, RenoCongestionControl)
        assert plain._max_datagram_size == plain._loss._cc._max_datagram_size == BASE
        assert plain._loss._pacer._max_datagram_size == BASE
