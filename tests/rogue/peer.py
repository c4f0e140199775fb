"""Rogue peers on real UDP sockets: a client that dials, a server that is dialled."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.packet import pull_quic_header
from aioquic.tls import Epoch

from rogue.connection import Closed, RogueConnection
from rogue.script import Script

PATIENCE = 10.0
"""Seconds any wait for the other side may take; a test that reaches it has failed."""

Address = tuple[str, int]


class Peer:
    """One connection of a rogue, driven by whoever owns its socket."""

    def __init__(self, connection: RogueConnection, transport: asyncio.DatagramTransport) -> None:
        self.connection = connection
        self.received: dict[int, bytes] = defaultdict(bytes)
        """Bytes that came, by stream."""
        self.ended: dict[int, int | None] = {}
        """Streams that the other side ended, with the code of a reset, None for a plain end."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._is_done = False
        self._pings = 0
        self._answered = 0  # the last PING that was acknowledged

    @property
    def local_address(self) -> str:
        """Where the other side sees it."""
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def datagram_received(self, data: bytes, address: Address) -> None:
        """Feed one datagram and send what follows from it."""
        self.connection.receive_datagram(data, address, self._loop.time())
        self.pump()

    def pump(self) -> None:
        """Handle events, send what is due, wake who waits."""
        script = self.connection.script
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, events.HandshakeCompleted) and script.afterwards:
                self.connection.send_tls(script.afterwards)
            elif isinstance(event, events.StreamDataReceived):
                self.received[event.stream_id] += event.data
                if event.end_stream:
                    self.ended[event.stream_id] = None
            elif isinstance(event, events.PingAcknowledged):
                self._answered = max(self._answered, event.uid)
            elif isinstance(event, events.StreamReset):
                self.ended[event.stream_id] = event.error_code
        for data, address in self.connection.datagrams_to_send(self._loop.time()):
            self._transport.sendto(data, address)
        self._schedule()
        self._news.set()

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send bytes on a stream, opening it if need be."""
        self.connection.send_stream_data(stream_id, data, end)
        self.pump()

    async def settle(self) -> None:
        """Wait until the other side has handled all that was sent and acknowledged a PING, or has closed."""
        self._pings += 1
        uid = self._pings
        self.connection.send_ping(uid)
        self.pump()
        await self.until(lambda: self._answered >= uid or self.connection.closed is not None)

    async def flood(self, frames: Iterable[bytes], *, batch: int = 16) -> int:
        """Send packets full of frames until these end or the other side closes; returns the frames' bytes."""
        sent = 0
        for number, payload in enumerate(packed(frames), 1):
            self.inject(payload)
            sent += len(payload)
            if number % batch == 0:
                await self.settle()
                if self.connection.closed is not None:
                    return sent
        await self.settle()
        return sent

    def inject(self, payload: bytes, epoch: Epoch = Epoch.ONE_RTT) -> None:
        """Send one packet with these bytes for frames, past all that a sound peer does about them."""
        self.throw(self.connection.packet(payload, epoch))

    def throw(self, datagram: bytes) -> None:
        """Send one datagram as it is."""
        address = self.connection.get_peer_address()
        assert address is not None
        self._transport.sendto(datagram, address)

    async def outcome(self) -> Closed | None:
        """Wait until the other side has closed the connection or accepted it: returns its close, or None."""
        connection = self.connection
        await self.until(lambda: connection.closed is not None or self.is_accepted)
        return connection.closed

    async def closed(self) -> Closed:
        """Wait until the other side has closed the connection."""
        await self.until(lambda: self.connection.closed is not None)
        assert self.connection.closed is not None
        return self.connection.closed

    @property
    def is_accepted(self) -> bool:
        """Whether the other side has completed the handshake: HANDSHAKE_DONE came, or a client's Finished."""
        return self.connection.is_confirmed

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, asked again whenever something came."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                if self.connection.fault is not None:
                    raise AssertionError(f"the rogue itself gave up: {self.connection.fault}")
                self._news.clear()
                await self._news.wait()

    def stop(self) -> None:
        """Close the connection, if it lives, and forget it."""
        self.connection.close()
        self.pump()
        self._is_done = True
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.connection.get_timer()
        if at is not None and not self._is_done:
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self.connection.handle_timer(self._loop.time())
        self.pump()


PAYLOAD = 1150
"""Bytes of frames in one packet of a flood: they fit every path."""


def packed(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield frames put together as packets take them."""
    payload = bytearray()
    for frame in frames:
        if len(payload) + len(frame) > PAYLOAD:
            yield bytes(payload)
            payload.clear()
        payload += frame
    if payload:
        yield bytes(payload)


class Socket(asyncio.DatagramProtocol):
    """A UDP socket whose closing can be awaited."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self._is_closed = asyncio.get_running_loop().create_future()

    async def open(self, port: int = 0) -> None:
        """Bind to a port of the loopback interface, a free one unless told otherwise."""
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))

    async def close(self) -> None:
        """Close, and return when the socket is gone."""
        self.transport.close()
        await self._is_closed

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_closed.set_result(None)


class RogueClient(Socket):
    """Dials a node. As a context manager it yields the connection at once, the handshake under way."""

    def __init__(self, address: str, script: Script) -> None:
        super().__init__()
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._script = script

    async def __aenter__(self) -> Peer:
        await self.open()
        connection = RogueConnection(self._script)
        self._peer = Peer(connection, self.transport)
        connection.connect(self._address, asyncio.get_running_loop().time())
        if self._script.stream:
            connection.send_stream_data(connection.get_next_available_stream_id(), self._script.stream)
        self._peer.pump()
        return self._peer

    async def __aexit__(self, *_exception: object) -> None:
        self._peer.stop()
        await self.close()

    def datagram_received(self, data: bytes, address: Address) -> None:
        self._peer.datagram_received(data, address)


class RogueServer(Socket):
    """Waits to be dialled: each address that sends an Initial packet gets a connection of its own."""

    def __init__(self, script: Script, *, port: int = 0) -> None:
        super().__init__()
        self._script = script
        self._port = port
        self._peers: dict[Address, Peer] = {}
        self._first: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> str:
        """Where to dial it."""
        host, port = self.transport.get_extra_info("sockname")
        return f"{host}:{port}"

    async def peer(self) -> Peer:
        """Wait for the first connection."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._first)

    async def __aenter__(self) -> Self:
        await self.open(self._port)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for peer in self._peers.values():
            peer.stop()
        await self.close()

    def datagram_received(self, data: bytes, address: Address) -> None:
        peer = self._peers.get(address)
        if peer is None:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
            peer = Peer(RogueConnection(self._script, header.destination_cid), self.transport)
            self._peers[address] = peer
            if not self._first.done():
                self._first.set_result(peer)
        peer.datagram_received(data, address)
