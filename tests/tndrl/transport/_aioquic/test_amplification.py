"""Three times what an address sent, and the two ways round it that aioquic leaves open (QUIC-04)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection, QuicNetworkPath

from rogue.connection import RogueConnection
from support import streams
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.session import Session


@contextmanager
def sockets(count: int) -> Iterator[list[socket.socket]]:
    """Yield UDP sockets of the loopback interface."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for one in made:
            one.setblocking(False)
            one.bind(("127.0.0.1", 0))
        yield made
    finally:
        for one in made:
            one.close()


async def read(sock: socket.socket) -> bytes:
    """Return the next datagram."""
    async with asyncio.timeout(streams.PATIENCE):
        return await asyncio.get_running_loop().sock_recv(sock, 65535)


async def test_a_handshake_proves_only_where_it_began() -> None:
    """Handshake packets from another address draw three times as much there at most, and an end when it is mute."""
    loop = asyncio.get_running_loop()
    async with streams.accepting() as server:
        with sockets(2) as (here, elsewhere):
            address = server.endpoint.address
            client = RogueConnection(streams.honest("b"))
            client.connect(address, loop.time())
            for data, _ in client.datagrams_to_send(loop.time()):
                here.sendto(data, address)
            while not client.is_complete:
                client.receive_datagram(await read(here), address, loop.time())
            flight = [data for data, _ in client.datagrams_to_send(loop.time())]
            for data in flight:
                elsewhere.sendto(data, address)
            session = await server.confirmed.get()
            assert session.address[:2] == elsewhere.getsockname()
            assert not session._quic._network_paths[0].is_validated
            async with asyncio.timeout(streams.PATIENCE):
                await session.wait_closed()
            assert 0 < received(elsewhere) <= 3 * sum(map(len, flight))


def received(sock: socket.socket) -> int:
    """Return how many bytes wait."""
    total = 0
    while True:
        try:
            total += len(sock.recv(65535))
        except BlockingIOError:
            return total


@pytest.fixture
async def half_open() -> AsyncIterator[tuple[Endpoint, Session]]:
    """Yield an endpoint and its session with a client that has only begun."""
    async with streams.accepting() as server:
        with sockets(1) as (here,):
            client = RogueConnection(streams.honest("b"))
            client.connect(server.endpoint.address, 0.0)
            for data, _ in client.datagrams_to_send(0.0):
                here.sendto(data, server.endpoint.address)
            await read(here)
            (session,) = server.endpoint.sessions
            yield server.endpoint, session


async def test_a_close_without_room_is_silent(half_open: tuple[Endpoint, Session]) -> None:
    """Where three times as much was sent already, a connection ends without a word."""
    endpoint, session = half_open
    (path,) = session._quic._network_paths
    path.bytes_sent = 3 * path.bytes_received
    sent = endpoint.counters["bytes_sent"]
    session.close()
    assert session.is_closed
    assert endpoint.counters["bytes_sent"] == sent


async def test_a_close_with_room_is_sent(half_open: tuple[Endpoint, Session]) -> None:
    """Otherwise the client learns that its connection is over."""
    endpoint, session = half_open
    sent = endpoint.counters["bytes_sent"]
    session.refuse("enough")
    assert endpoint.counters["bytes_sent"] > sent


def test_aioquic_has_what_is_read() -> None:
    """The methods and the path's account are there, with the meaning they had."""
    assert list(signature(QuicConnection.datagrams_to_send).parameters) == ["self", "now"]
    assert list(signature(QuicConnection.receive_datagram).parameters) == ["self", "data", "addr", "now"]
    assert AuthenticatedConnection.datagrams_to_send is not QuicConnection.datagrams_to_send
    path = QuicNetworkPath(("192.0.2.1", 1))
    path.bytes_received, path.bytes_sent = 100, 300
    assert path.can_send(0)
    assert not path.can_send(1)
