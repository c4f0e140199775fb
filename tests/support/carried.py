"""A confirmed connection whose datagrams a test carries by hand, in the order and at the times it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection

from support import streams
from tndrl.transport._aioquic.connection import AuthenticatedConnection


def leave_none_out(connection: AuthenticatedConnection) -> None:
    """Let a connection leave out no packet numbers: to its peer each looks like a packet that was lost."""
    connection._skipped.is_due = lambda _path: False  # type: ignore[method-assign]


class Pair:
    """A confirmed connection whose datagrams are carried by hand from here on."""

    def __init__(self, quic: streams.Quic, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions = quic
        self.sender: AuthenticatedConnection = quic.client._quic
        self.receiver: AuthenticatedConnection = quic.server._quic
        self.address = quic.server.address
        self.now = asyncio.get_running_loop().time()
        self.long_ways = 0
        leave_none_out(self.sender)
        for session in (quic.client, quic.server):
            session._released = True  # nothing is sent and nothing fires by itself
        original = QuicConnection.receive_datagram

        def receive(connection: QuicConnection, data: bytes, addr: Any, now: float) -> None:
            self.long_ways += connection is self.receiver
            original(connection, data, addr, now)

        monkeypatch.setattr(QuicConnection, "receive_datagram", receive)

    @property
    def space(self) -> Any:
        return self.receiver._spaces[tls.Epoch.ONE_RTT]

    def packet(self, *, data: bytes = b"", ping: bool = False) -> bytes:
        """Return a datagram with bytes of stream 0, or a PING."""
        if data:
            self.sender.send_stream_data(0, data)
        if ping:
            self.sender.send_ping(0)
        self.now += 0.001
        (datagram,) = [data for data, _addr in self.sender.datagrams_to_send(now=self.now)]
        return datagram

    def deliver(self, datagram: bytes, address: Any = None) -> int:
        """Receive a datagram; returns whether aioquic did it."""
        before = self.long_ways
        self.receiver.receive_datagram(datagram, address or self.address, now=self.now)
        return self.long_ways - before


@asynccontextmanager
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Yield a pair with an open stream, and nothing on its way."""
    async with asyncio.timeout(20), streams.connected() as quic:
        near, _far = await quic.streams()
        await streams.until(lambda: quic.client._quic.path_mtu.size > 1200, quic.exchange)
        await quic.exchange()
        assert near.stream_id == 0
        made = Pair(quic, monkeypatch)
        yield made
        for session in (quic.client, quic.server):
            session._released = False
