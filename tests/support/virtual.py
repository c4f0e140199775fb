"""A transfer over a bad link in virtual time: two connections of our own, a heap of datagrams, and no clock.

    transfer = Transfer(Link(seed, loss=0.02, delay=0.015, rate=10e6), size=2_000_000, upload=True)
    transfer.run(limit=600.0)           # virtual seconds; raises StuckError if it is not complete by then

Certificates, TLS and QUIC are real; only sockets and timers are missing. A run takes the CPU time of its packets.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from support import streams
from support.link import Direction, Link, source_host
from tndrl.transport._aioquic.connection import AuthenticatedConnection, HandshakeConfirmed
from tndrl.transport.identity import ClientPolicy, ServerPolicy
from tndrl.transport.priority import Priority
from tndrl.transport.quic_settings import CONNECTION_ID_LENGTH, QuicSettings

NODE = ("192.0.2.1", 4433)
Address = tuple[str, int]

ETHERNET = 1472
"""Bytes of a datagram's payload that the first link carries."""

PIECE = 32 * 1024
"""Bytes that a sender of bulk adds when it has fewer than that left."""

LATE = 1e-6
"""Seconds by which timers are late, as all are: aioquic declares nothing lost at the very moment it asked for."""


def connection(
    *, is_client: bool, settings: QuicSettings, destination: bytes | None = None
) -> AuthenticatedConnection:
    """Return one end: of node "b", which dials, or of node "a", dialled at the connection ID ``destination``."""
    ours = streams.credentials("b" if is_client else "a")
    policy = ServerPolicy(ours.bundle, "localhost") if is_client else ClientPolicy(ours.bundle)
    configuration = settings.configuration(ours, is_client=is_client)
    configuration.server_name = "localhost" if is_client else None
    return AuthenticatedConnection(
        configuration=configuration,
        verify_peer=policy.verify,
        limits=settings.limits,
        max_datagram=settings.max_datagram,
        route_payload=lambda _address: ETHERNET,
        make_token=lambda connection_id: connection_id.ljust(16),
        original_destination_connection_id=destination,
    )


class StuckError(AssertionError):
    """A transfer that did not complete in its time, or whose connection ended before it had."""


@dataclass(eq=False)
class End:
    """One side of a connection, and what it has got so far."""

    quic: AuthenticatedConnection
    received: bytearray = field(default_factory=bytearray)
    is_complete: bool = False
    """Whether the end of the stream has come."""
    confirmed_at: float = math.inf
    at: float | None = None
    """When its timer is due."""


class Transfer:
    """A connection of node "b" to node "a" and ``size`` random bytes on its first stream: one way, then the end.

    The other way goes one byte, with which the reader says that it has all.
    """

    def __init__(self, link: Link, *, size: int, upload: bool, settings: QuicSettings | None = None) -> None:
        self.now = 0.0
        self.rebindings = 0
        self.link = link
        self._settings = settings or QuicSettings()
        self._payload = random.Random(size).randbytes(size)
        self._upload = upload
        self._begun = False
        self._heap: list[tuple[float, int, Direction, bytes, Address]] = []
        self._numbers = count()
        self._bound_at = 0.0  # when the client's NAT chose the address it has
        self.client = End(connection(is_client=True, settings=self._settings))
        self._servers: dict[bytes, End] = {}  # by connection ID, as at an endpoint
        self._touched: dict[End, None] = {self.client: None}
        self.client.quic.connect(NODE, now=self.now)

    def handshake(self, *, limit: float) -> float:
        """Run until the client knows that it was accepted; returns when, in seconds. Raises StuckError."""
        self._run(lambda: self.client.confirmed_at < math.inf, limit)
        return self.client.confirmed_at

    def begin(self) -> None:
        """Write to the stream what the client has to say."""
        if not self._begun:
            self._begun = True
            self.say(0, self._payload if self._upload else b"?", end=True)

    def say(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Let the client send something on a stream."""
        self.client.quic.send_stream_data(stream_id, data, end_stream=end)
        self._touched[self.client] = None

    def run(self, *, limit: float) -> float:
        """Run until the last byte has come, and check all; returns when, in seconds. Raises StuckError."""
        self.begin()
        self._run(lambda: self.client.is_complete, limit)
        reader = self.server if self._upload else self.client
        assert bytes(reader.received) == self._payload, "what came is not what was sent"
        return self.now

    def wait(self, seconds: float) -> None:
        """Let some time pass."""
        until = self.now + seconds
        self._pump()
        while self._step(until):
            pass
        self.now = until

    @property
    def server(self) -> End:
        """The node's end of the connection, once it has let the client in."""
        (server,) = [end for end in self._ends() if end is not self.client and end.confirmed_at < math.inf]
        return server

    def source(self) -> Address:
        """Return where the node sees the client now."""
        link = self.link
        while self.rebindings < link.rebindings and self.now >= self._bound_at + link.rebind:
            self._bound_at += link.rebind
            self.rebindings += 1
        return source_host(self.rebindings), 40000 + self.rebindings

    # private

    def _run(self, is_done: Callable[[], bool], limit: float) -> None:
        self._pump()
        while not is_done():
            if not self._step(limit):
                raise StuckError(f"nothing more before {limit} s: {self._state()}")

    def _step(self, limit: float) -> bool:
        """Do what is due next; returns whether anything is before ``limit``."""
        due = LATE + min([at for end in self._ends() if (at := end.at) is not None], default=math.inf)
        at = min(due, self._heap[0][0] if self._heap else math.inf)
        if at > limit:
            return False
        self.now = max(self.now, at)
        self._deliver()
        for end in self._ends():
            if end.at is not None and end.at <= self.now:
                end.quic.handle_timer(now=self.now)
                self._touched[end] = None
        self._pump()
        return True

    def _deliver(self) -> None:
        while self._heap and self._heap[0][0] <= self.now:
            _at, _number, direction, data, address = heapq.heappop(self._heap)
            if direction is Direction.TO_NODE:
                end = self._server_for(data)
            else:
                end = self.client if address == self.source() else None  # the NAT has forgotten the old one
            if end is not None:
                end.quic.receive_datagram(data, address if end is not self.client else NODE, now=self.now)
                self._touched[end] = None

    def _pump(self) -> None:
        while self._touched:
            end, _ = self._touched.popitem()
            self._handle_events(end)
            for data, address in end.quic.datagrams_to_send(now=self.now) if end.quic.has_path else ():
                self._send(end, data, address)
            self._handle_events(end)  # sending issues connection IDs
            end.at = end.quic.get_timer()

    def _send(self, end: End, data: bytes, address: Address) -> None:
        direction = Direction.TO_NODE if end is self.client else Direction.TO_CLIENT
        address = self.source() if end is self.client else address
        for at, arrived in self.link.send(data, direction, self.now):
            heapq.heappush(self._heap, (at, next(self._numbers), direction, arrived, address))

    def _handle_events(self, end: End) -> None:
        while (event := end.quic.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self._handle_data(end, event)
            elif isinstance(event, HandshakeConfirmed):
                end.confirmed_at = self.now
            elif isinstance(event, events.ConnectionIdIssued) and end is not self.client:
                self._servers[event.connection_id] = end
            elif isinstance(event, events.ConnectionIdRetired):
                self._servers.pop(event.connection_id, None)
            elif isinstance(event, events.ConnectionTerminated) and end.confirmed_at < math.inf:
                raise StuckError(f"closed: {event.error_code:#x} {event.reason_phrase!r}, {self._state()}")

    def _handle_data(self, end: End, event: events.StreamDataReceived) -> None:
        end.received += event.data
        end.quic.consume(event.stream_id, len(event.data), now=self.now)
        if event.end_stream:
            end.is_complete = True
            if end is not self.client:
                answer = b"!" if self._upload else self._payload
                end.quic.send_stream_data(event.stream_id, answer, end_stream=True)
        self._touched[end] = None

    def _server_for(self, data: bytes) -> End | None:
        """Return whom the node gives a datagram to, as its endpoint does."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_LENGTH)
        except ValueError:
            return None
        end = self._servers.get(header.destination_cid)
        if end is None and header.packet_type is QuicPacketType.INITIAL and len(data) >= 1200:
            if header.version not in self.client.quic.configuration.supported_versions:
                return None
            quic = connection(is_client=False, settings=self._settings, destination=header.destination_cid)
            end = self._servers[header.destination_cid] = self._servers[quic.host_cid] = End(quic)
        return end

    def _ends(self) -> list[End]:
        return [self.client, *dict.fromkeys(self._servers.values())]

    def _state(self) -> str:
        got = [len(end.received) for end in self._ends()]
        counts = {direction.value: dict(line.counts) for direction, line in self.link.lines.items()}
        return (
            f"at {self.now:.3f} s, confirmed at {self.client.confirmed_at:.3f} s, "
            f"received {got} of {len(self._payload)}, {counts}"
        )


class Bulk(Transfer):
    """Pings on the first stream, beside streams on which one side has more to send than the link carries.

    ``priority`` is the class of those streams; Pings are critical.
    """

    def __init__(self, link: Link, *, streams: int, upload: bool, priority: Priority) -> None:
        super().__init__(link, size=1, upload=upload)
        self._priority = priority
        self._bulk = [4 * (1 + number) for number in range(streams)]
        self._answered = False
        self.handshake(limit=10.0)
        for stream_id in (0, *self._bulk):
            self.say(stream_id, b"?")
            self.client.quic.prioritize(stream_id, self._class_of(stream_id))
        self._run(lambda: self._answered, 10.0)

    def ping(self) -> float:
        """Return the seconds that a small call takes."""
        self._answered, began = False, self.now
        self.say(0, bytes(50))
        self._run(lambda: self._answered, began + 10.0)
        return self.now - began

    def _class_of(self, stream_id: int) -> Priority:
        return self._priority if stream_id else Priority.CRITICAL

    def _handle_events(self, end: End) -> None:
        super()._handle_events(end)
        if (end is self.client) == self._upload and end.confirmed_at < math.inf:
            for stream_id in self._bulk:
                if end.quic.is_known(stream_id) and end.quic.unsent(stream_id) < PIECE:
                    end.quic.send_stream_data(stream_id, bytes(PIECE))

    def _handle_data(self, end: End, event: events.StreamDataReceived) -> None:
        end.quic.consume(event.stream_id, len(event.data), now=self.now)
        if end is not self.client:
            end.quic.prioritize(event.stream_id, self._class_of(event.stream_id))
            if event.stream_id == 0:
                end.quic.send_stream_data(0, event.data)
        elif event.stream_id == 0:
            self._answered = True
        self._touched[end] = None
