"""One UDP socket and its connections: what is accepted, what is dropped, how it ends."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_version_negotiation

from rogue import frames
from rogue.peer import RogueClient
from support import streams
from tndrl.config import LimitsConfig
from tndrl.errors import (
    ConnectionClosedError,
    NoAnswerError,
    PortClosedError,
    RefusedError,
    StatelessResetError,
)
from tndrl.transport import endpoint, liveness, session, turns
from tndrl.transport.codes import ErrorCode
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.stateless_reset import ResetKey
from tndrl.transport.udp import client_udp, format_address

V1 = QuicProtocolVersion.VERSION_1
QUIC_VERSIONS = [V1, QuicProtocolVersion.VERSION_2]


def initial(version: int = V1, size: int = 1200, kind: int = 0xC3, own: bytes = b"dstdstds") -> bytes:
    """Return the begin of an Initial packet with a body that decrypts to nothing."""
    head = bytes([kind]) + version.to_bytes(4, "big") + b"\x08" + own + b"\x08srcsrcsr"
    length = max(0, size - len(head) - 3)
    return head + b"\0" + (0x4000 | length).to_bytes(2, "big") + os.urandom(length)


async def drop(server: Endpoint, data: bytes) -> bytes | None:
    """Send a datagram, wait until it was read, and return the answer, if there is one."""
    before = server.counters["datagrams_received"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.sendto(data, server.address)
        await streams.until(lambda: server.counters["datagrams_received"] > before)
        await asyncio.sleep(0)
        try:
            return sock.recv(2000)
        except BlockingIOError:
            return None


JUNK = {
    "empty": b"",
    "one byte": b"\xc0",
    "all zero": bytes(1200),
    "short header of nobody, too small to answer": b"\x40" + bytes(20),
    "small Initial": initial(size=1199),
    "Handshake of nobody": initial(kind=0xE3),
    "0-RTT of nobody": initial(kind=0xD3),
    "Version Negotiation": b"\xc3" + bytes(4) + b"\x08dstdstds\x08srcsrcsr" + bytes([1] * 1180),
    "unknown version, small": initial(version=0x1A2A3A4A, size=1199),
    "truncated connection ID": b"\xc3\0\0\0\x01\xff" + bytes(5),
}


@pytest.mark.parametrize("name", JUNK)
async def test_junk_is_dropped(name: str) -> None:
    """What begins no connection is counted, not answered and not remembered."""
    async with streams.accepting() as server:
        assert await drop(server.endpoint, JUNK[name]) is None
        assert server.endpoint.counters["datagrams_dropped"] == 1
        assert server.endpoint.half_open == 0
        assert not server.endpoint.sessions


async def test_an_unknown_version_is_negotiated() -> None:
    """A full-sized packet of another version gets the versions that are spoken here, and no state."""
    async with streams.accepting() as server:
        answer = await drop(server.endpoint, initial(version=0x1A2A3A4A))
        assert answer is not None
        assert answer[1:5] == bytes(4)
        assert answer[5:23] == b"\x08srcsrcsr\x08dstdstds"
        assert QuicProtocolVersion.VERSION_1.to_bytes(4, "big") in answer
        assert not server.endpoint.sessions


def bytes_of_nobody(size: int) -> bytes:
    """Return a packet with a short header for a connection ID that was never given out."""
    return b"\x40nobody's" + bytes(size - 9)


@asynccontextmanager
async def restarted(quic: streams.Quic, key: ResetKey) -> AsyncIterator[Endpoint]:
    """Take the server away without a word and put another in its place, with ``key``."""
    address = quic.server_endpoint.address
    quic.server.abandon(NoAnswerError("peer", 0))
    quic.server_endpoint._udp.close()
    async with streams.accepting(port=address[1], reset_key=key) as server:
        yield server.endpoint


async def test_a_packet_of_nobody_is_answered_by_a_reset() -> None:
    """Who sends on a connection that is not known learns so, by the token of the ID it used."""
    async with streams.accepting() as server:
        answer = await drop(server.endpoint, bytes_of_nobody(1200))
        assert answer is not None
        assert answer[-16:] == server.endpoint._reset_key.token(b"nobody's")
        assert server.endpoint.counters["stateless_resets_sent"] == 1
        assert not server.endpoint.sessions


async def test_a_restarted_server_resets_its_clients() -> None:
    """A node that lost its connections but has its key ends them at the first packet, with a reason of its own."""
    async with streams.connected() as quic, restarted(quic, quic.server_endpoint._reset_key) as server:
        with pytest.raises(StatelessResetError, match="knows this connection no more"):
            await quic.client.ping()
        assert server.counters["stateless_resets_sent"] >= 1
        assert quic.client_endpoint.counters["stateless_resets_received"] == 1
        assert not quic.client_endpoint.sessions


async def test_a_reset_with_another_key_is_none() -> None:
    """Whoever does not have the node's key resets nothing."""
    async with streams.connected() as quic, restarted(quic, ResetKey()) as server:
        quic.client._quic.send_ping(1)
        quic.client.flush()
        await streams.until(lambda: server.counters["stateless_resets_sent"] > 0)
        await streams.until(lambda: quic.client_endpoint.counters["datagrams_dropped"] > 0)
        assert quic.client.is_connected


async def test_a_reset_from_elsewhere_is_none() -> None:
    """The right token from another address than the peer's ends nothing (RFC 9000 section 10.3.1)."""
    async with streams.connected() as quic:
        token = quic.client._quic.peer_reset_token
        quic.client_endpoint._udp.address = ("127.0.0.1", quic.client_endpoint.address[1])
        await drop(quic.client_endpoint, bytes_of_nobody(30) + token)
        assert quic.client.is_connected
        await quic.client.ping()


async def test_a_handshake_through_retry() -> None:
    """Our client comes back with the token it was given, and both sides end up verified."""
    async with streams.connected(QuicSettings(limits=LimitsConfig(retry_above=0))) as quic:
        assert quic.server_endpoint.counters["retries_sent"] == 1
        assert quic.client.peer_id is not None
        await quic.exchange()


@pytest.mark.parametrize("retry_above", [0, 32])
@pytest.mark.parametrize("version", QUIC_VERSIONS)
async def test_both_versions_are_accepted(version: int, retry_above: int) -> None:
    """A client that begins in either version is served in it, with a Retry and without."""
    settings = QuicSettings(limits=LimitsConfig(retry_above=retry_above))
    async with streams.accepting(settings) as server:
        script = replace(streams.honest("b"), version=version)
        async with RogueClient(format_address(server.endpoint.address), script) as client:
            assert await client.outcome() is None
            assert server.endpoint.counters["retries_sent"] == (retry_above == 0)


async def test_nothing_is_kept_before_a_token() -> None:
    """Above the threshold each first packet, junk too, is answered by a Retry, and leaves nothing behind."""
    settings = QuicSettings(limits=LimitsConfig(retry_above=2))
    async with streams.accepting(settings) as server:
        for _ in range(2):
            assert await drop(server.endpoint, initial(own=os.urandom(8))) is None
        for number in range(20):
            answer = await drop(server.endpoint, initial(own=os.urandom(8)))
            assert answer is not None
            assert answer[0] & 0xF0 == 0xF0
            assert server.endpoint.counters["retries_sent"] == number + 1
        assert server.endpoint.half_open == 2
        assert not server.endpoint.sessions


async def test_junk_costs_no_connection() -> None:
    """A first packet that its own keys do not open gets neither state nor answer, but counts as a handshake."""
    async with streams.accepting(QuicSettings(handshake_timeout=0.1)) as server:
        for _ in range(3):
            assert await drop(server.endpoint, initial(own=os.urandom(8))) is None
        assert server.endpoint.counters["initials_junk"] == 3
        assert not server.endpoint.sessions
        assert server.endpoint.half_open > 0
        await streams.until(lambda: not server.endpoint.half_open, lambda: asyncio.sleep(0.02))
        assert server.endpoint.counters["datagrams_sent"] == 0
        assert server.closed.empty()


async def test_junk_makes_room_too() -> None:
    """At the limit of handshakes, what stands for junk is given up for another host."""
    settings = QuicSettings(limits=LimitsConfig(half_open=1, retry_above=10))
    async with streams.accepting(settings) as server:
        assert await drop(server.endpoint, initial()) is None
        with streams.dialling(host="127.0.0.2") as client:
            await streams.dial(client, server.endpoint.address).wait_confirmed()
        assert server.endpoint.half_open == 0


async def test_a_full_node_refuses() -> None:
    """The caller's error names the limit and the cure; who is connected notices nothing."""
    async with streams.connected(QuicSettings(limits=LimitsConfig(connections=1))) as quic:
        late = streams.dial(quic.client_endpoint, quic.server_endpoint.address)
        failure = await late.wait_closed()
        assert isinstance(failure, RefusedError)
        assert "limits.connections" in failure.detail
        assert "try again later" in str(failure)
        await quic.exchange()
        quic.client.close()
        await quic.server.wait_closed()
        again = streams.dial(quic.client_endpoint, quic.server_endpoint.address)
        await again.wait_confirmed()


async def test_a_handshake_makes_room_for_another_host() -> None:
    """At the limit of handshakes the oldest of the greediest host is refused, and its slot given away."""
    settings = QuicSettings(limits=LimitsConfig(half_open=1, retry_above=10))
    async with streams.accepting(settings) as server:
        script = streams.honest("slow")
        async with RogueClient(format_address(server.endpoint.address), script) as slow:
            slow.connection.receive_datagram = lambda *_: None
            await streams.until(lambda: server.endpoint.sessions)
            with streams.dialling(host="127.0.0.2") as client:
                await streams.dial(client, server.endpoint.address).wait_confirmed()
            failed = await server.closed.get()
            assert "limits.halfOpen" in str(failed.failure)


async def test_version_negotiation_ends_nothing() -> None:
    """A client acts on no Version Negotiation: every node speaks version 1, so it is forged."""
    async with streams.accepting() as server:
        with streams.dialling() as client:
            session = streams.dial(client, server.endpoint.address)
            forged = encode_quic_version_negotiation(
                source_cid=session._quic.original_destination_connection_id,
                destination_cid=session._quic.host_cid,
                supported_versions=[0x1A2A3A4A],
            )
            client._receive(forged, server.endpoint.address)
            await session.wait_confirmed()


async def test_an_endpoint_that_dials_accepts_nobody() -> None:
    """A full Initial packet at a client's port is dropped."""
    with streams.dialling() as client:
        host, port = "127.0.0.1", client.address[1]
        client._udp.address = (host, port)
        assert await drop(client, initial()) is None
        assert not client.sessions


async def test_many_connections_share_the_socket() -> None:
    """Each connection gets its own datagrams, on both sides."""
    async with streams.accepting() as server:
        with streams.dialling() as client:
            sessions = [streams.dial(client, server.endpoint.address) for _ in range(5)]
            await asyncio.gather(*(session.wait_confirmed() for session in sessions))
            assert len(client.sessions) == len(server.endpoint.sessions) == 5
            await asyncio.gather(*(session.ping() for session in sessions))


async def test_connection_ids_come_and_go() -> None:
    """A connection that changes its ID is still routed, and its retired ID is forgotten."""
    async with streams.connected() as quic:
        before = quic.server_endpoint._routes.connection_ids(quic.server)
        quic.client._quic.change_connection_id()
        quic.client.flush()
        await quic.exchange()
        after = quic.server_endpoint._routes.connection_ids(quic.server)
        assert before - after
        assert after - before


async def test_all_connections_move_to_another_socket() -> None:
    """After rebind() every connection goes on from a fresh port, those under way included."""
    async with streams.accepting() as server:
        with streams.dialling() as client:
            settled = [streams.dial(client, server.endpoint.address) for _ in range(3)]
            await asyncio.gather(*(session.wait_confirmed() for session in settled))
            fresh = streams.dial(client, server.endpoint.address)
            before = client.address
            client.rebind(client_udp(socket.AF_INET))
            assert client.address != before
            await fresh.wait_confirmed()
            await asyncio.gather(*(session.ping() for session in [*settled, fresh]))
            await streams.until(
                lambda: {session.address[1] for session in server.endpoint.sessions} == {client.address[1]},
                settled[0].ping,
            )


async def test_another_route_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is acknowledged in time and datagrams leave from another address than before, we have moved."""
    async with streams.connected() as quic:
        client = quic.client_endpoint
        first_id = quic.client._quic._peer_cid.cid
        client.unanswered(quic.client)
        assert client.counters["migrations"] == 0
        for found in (None, "192.0.2.7", "192.0.2.7"):
            monkeypatch.setattr(endpoint, "own_address", lambda _address, found=found: found)
            client.unanswered(quic.client)
        assert client.counters["migrations"] == 1
        assert quic.client._quic._peer_cid.cid != first_id
        quic.server_endpoint.unanswered(quic.server)
        assert quic.server_endpoint.counters["migrations"] == 0


async def test_a_closed_connection_is_forgotten() -> None:
    """After its closing period an ended connection has no route left."""
    async with streams.connected() as quic:
        quic.client.close()
        await streams.until(
            lambda: not quic.client_endpoint.sessions and not quic.server_endpoint.sessions,
            lambda: asyncio.sleep(0.02),
        )


async def test_closing_tells_every_peer() -> None:
    """Each peer gets code and reason; here the sessions are over at once."""
    async with streams.connected() as quic:
        quic.server_endpoint.close(ErrorCode.SHUTDOWN, "for today")
        assert quic.server.is_closed
        failure = await quic.client.wait_closed()
        assert isinstance(failure, ConnectionClosedError)
        assert (failure.code_name, failure.reason, failure.remote) == ("SHUTDOWN", "for today", True)
        assert not quic.server_endpoint.sessions


async def test_a_closed_port_ends_a_handshake() -> None:
    """Where nobody listens a handshake fails at once, and only that one."""
    async with streams.accepting() as server:
        with streams.dialling() as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            nowhere = sock.getsockname()
            sock.close()
            good, bad = streams.dial(client, server.endpoint.address), streams.dial(client, nowhere)
            assert isinstance(await bad.wait_closed(), PortClosedError)
            await good.wait_confirmed()


async def test_a_closed_port_is_doubted_of_a_live_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report about a peer that is connected is checked by a PING: anybody can forge it."""
    monkeypatch.setattr(liveness, "DOUBT_TIMEOUT", 0.1)
    async with streams.connected() as quic:
        quic.client_endpoint._port_closed(quic.server_endpoint.address)
        assert quic.client.liveness._doubt is not None
        await streams.until(lambda: quic.client.liveness._doubt is None, lambda: asyncio.sleep(0.02))
        assert quic.client.is_connected


async def test_a_server_believes_no_report() -> None:
    """Clients come and go: a report at a listening socket ends nothing."""
    async with streams.connected() as quic:
        quic.server_endpoint._port_closed(quic.server.address)
        assert quic.server.liveness._doubt is None
        assert quic.server.is_connected


async def test_what_is_sent_and_received_is_counted() -> None:
    """Datagrams and bytes are counted both ways."""
    async with streams.connected() as quic:
        counters = quic.client_endpoint.counters
        assert counters["datagrams_sent"] > 1
        assert counters["datagrams_received"] > 1
        assert counters["bytes_sent"] >= 1200
        assert counters["bytes_received"] >= 1200


async def test_a_connection_works_without_the_system_s_help() -> None:
    """Where datagrams can be neither sent nor received together, everything else is the same."""
    async with streams.connected(offload=False) as quic:
        near, far = await quic.streams()
        sent = os.urandom(300_000)
        sending = asyncio.ensure_future(near.send(sent))
        received = b""
        while len(received) < len(sent):
            received += await far.receive()
        await sending
        assert received == sent


def note_receivers(monkeypatch: pytest.MonkeyPatch, order: list[object], kind: type, method: str) -> None:
    """Note of each datagram from here on who takes it by a method."""
    original = getattr(kind, method)

    def take(receiver: object, data: bytes, address: Any) -> None:
        order.append(receiver)
        original(receiver, data, address)

    monkeypatch.setattr(kind, method, take)


async def test_a_flood_in_the_socket_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUIC-23: what another peer sends is handled first, however much of a flood is before it in the socket."""
    order: list[object] = []
    async with streams.connected() as quic:
        host, port = quic.server_endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("flooder")) as rogue:
            assert await rogue.outcome() is None
            note_receivers(monkeypatch, order, Session, "receive_datagram")
            for _ in range(200):
                rogue.inject(frames.frame(frames.PING))
            await quic.client.ping()
            handled = [session for session in order if session is not quic.client]
            assert handled.index(quic.server) == 0
            assert len(handled) > 1


async def test_first_packets_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUIC-01: what a peer sends is handled before first packets, however many of them are before it in the socket."""
    order: list[object] = []
    note_receivers(monkeypatch, order, Endpoint, "_meet")  # which an endpoint looks up when it is made
    async with streams.connected() as quic:
        note_receivers(monkeypatch, order, Session, "receive_datagram")
        order.clear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(200):
                stranger.sendto(initial(), quic.server_endpoint.address[:2])
            await quic.client.ping()
        assert order[0] is quic.server
        assert order.count(quic.server_endpoint) > 1


async def test_what_a_peer_sends_beyond_its_queue_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """QUIC-23: a flood that cannot be handled costs the flooder's datagrams, which are counted."""
    monkeypatch.setattr(session, "WAITING", 20 * 300)
    monkeypatch.setattr(turns, "WAITING_EARLY", 20 * 300)
    async with streams.connected() as quic:
        host, port = quic.server_endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("flooder")) as rogue:
            assert await rogue.outcome() is None
            before = quic.server_endpoint.counters["datagrams_dropped"]
            for _ in range(200):
                rogue.inject(frames.frame(frames.PING))
            await quic.client.ping()
            assert quic.server_endpoint.counters["datagrams_dropped"] > before + 100


class Faulty:
    """A socket of which every fifth use fails."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number
        self._uses = 0
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._sock, name)
        return partial(self._use, found) if name in ("sendto", "sendmsg", "recvfrom", "recvmsg") else found

    def _use(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._uses += 1
        if self._uses % 5 == 0:
            self.failed += 1
            raise OSError(self._number, "a fault")
        return function(*arguments)


@pytest.mark.parametrize("name", ["ECONNREFUSED", "EMSGSIZE", "ENOBUFS", "ENETDOWN", "EPERM"])
async def test_a_live_connection_outlasts_faults_of_its_sockets(name: str) -> None:
    """QUIC-27: what the system refuses now and then, of either side, arrives all the same."""
    data = os.urandom(300_000)
    async with asyncio.timeout(30), streams.connected() as quic:
        near, far = await quic.streams()
        faulty = []
        for end in (quic.client_endpoint, quic.server_endpoint):
            end._udp._sock = Faulty(end._udp._sock, getattr(errno, name))
            faulty.append(end._udp._sock)
        sending, received = asyncio.ensure_future(far.send(data)), b""
        while len(received) < len(data):
            received += await near.receive()
        await sending
        assert received == data
        assert quic.client.failure is quic.server.failure is None
        assert all(sock.failed for sock in faulty)
