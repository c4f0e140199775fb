"""The calling side: one verified connection per peer, and gRPC channels on its streams."""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc.aio

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from tndrl.errors import TndrlError, UsageError
from tndrl.transport.channels import REFUSAL_TIMEOUT, ChannelSocket
from tndrl.transport.connections import Connections, TargetGate
from tndrl.transport.early import EarlyGate
from tndrl.transport.http2 import NO_PING_TIMEOUT
from tndrl.transport.idempotent import idempotent_methods
from tndrl.transport.loop_bound import LoopBoundChannel
from tndrl.transport.priority import Priority, priority_of
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.stream import ByteStream
from tndrl.transport.target import Target as Target
from tndrl.transport.tickets import ClientTickets, MemoryTickets, TicketStore

logger = logging.getLogger("tndrl.transport")

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.default_authority", "tndrl"),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    NO_PING_TIMEOUT,
)

_Key = tuple[Target, int, Priority | None]
"""What channels share a local socket: the peer, the type and the class of their streams."""


class MuxDialer:
    """Dials peers, keeps a QUIC connection to each, and opens typed streams on them.

    Use it as an async context manager. It belongs to the event loop that entered it. A connection on which no stream
    is open for ``evict_after`` seconds is closed; ``reconnect_max`` bounds the pauses between two tries,
    ``reconnect_for`` the seconds in which calls that wait for their peer keep trying.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_timeout: float = 10.0,
        evict_after: float = 300.0,
        reconnect_max: float = 30.0,
        reconnect_for: float = math.inf,
        settings: QuicSettings | None = None,
        tickets: TicketStore | None = None,
    ) -> None:
        settings = settings or QuicSettings()
        self.limits = settings.limits  # what we take of peers
        limit = settings.limits.tickets
        store = MemoryTickets(limit) if tickets is None else tickets
        self._connections = Connections(
            credentials,
            connect_timeout=connect_timeout,
            evict_after=evict_after,
            reconnect_max=reconnect_max,
            reconnect_for=reconnect_for,
            settings=settings,
            tickets=ClientTickets(credentials, store) if limit else None,
        )
        self._is_early = limit > 0 and settings.early_data  # whether any stream may be
        # What grpcio calls a back-off is also how long it waits for the first bytes of a connection: our dial and more.
        self._patience = ("grpc.min_reconnect_backoff_ms", int(1000 * (connect_timeout + REFUSAL_TIMEOUT)))
        self._sockets: dict[_Key, ChannelSocket] = {}
        self._gates: dict[_Key, EarlyGate] = {}
        self._channels: set[LoopBoundChannel] = set()
        self._channels_made = 0
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        connections = len(self._connections.pool.connections)
        return f"<MuxDialer {connections} connections, {len(self._channels)} channels>"

    async def __aenter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="tndrl-"))
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._connections.open(self._tasks)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close channels, connections and sockets. Calls under way fail. Does nothing twice."""
        if self._tasks is None or self._directory is None:
            return
        tasks, self._tasks = self._tasks, None
        for channel in tuple(self._channels):
            await channel.close()
        for channel_socket in self._sockets.values():
            await channel_socket.aclose()
        self._connections.close()
        await tasks.__aexit__(None, None, None)
        shutil.rmtree(self._directory)

    def failure(self, target: Target) -> TndrlError | None:
        """Return why the last connection to ``target`` failed or ended, None if it lives or was never tried."""
        return self._connections.pool.failure(target)

    def stats(self) -> dict[str, int]:
        """Return every counter."""
        refused = sum(one.refused for one in self._sockets.values())
        held = sum(gate.held for gate in self._gates.values())
        return {**self._connections.stats(), "channel_connections_refused": refused, "calls_held": held}

    async def dial(self, target: Target, *, early: bool = False) -> Session:
        """Return a connection to ``target`` whose identity is verified: the one there is, or a new one.

        With ``early`` it may be one that is being resumed, whose peer has yet to show that it is the same as before:
        what is sent on it until then is early data (0-RTT), which nobody else can read, but anybody can repeat.

        Waits at most the connect timeout, after a second for a connection that has long been silent to answer a PING.
        Raises ConnectError or IdentityError, those of the last try if that failed just now. Concurrent calls share one
        handshake. Safe to cancel: the handshake goes on for the others.
        """
        return await self._connections.acquire(target, streams=0, early=EarlyGate() if early else None)

    async def probe(self, target: Target, timeout: float) -> None:
        """Make sure that the connection to ``target``, if there is one, lives: a node that crashed says nothing.

        One that does not answer a PING within ``timeout`` seconds is given up, which its calls then raise. Safe to
        cancel.
        """
        await self._connections.probe(target, timeout)

    async def restock(self, target: Target, timeout: float) -> None:
        """Wait until there is a ticket for the next dialer, if none is left; at most ``timeout`` seconds.

        After a resumption a call may be over before new tickets can have come. Safe to cancel.
        """
        await self._connections.restock(target, timeout)

    async def open_stream(
        self, target: Target, stream_type: int, *, priority: Priority | None = None
    ) -> QuicStream:
        """Open a stream of ``stream_type`` to ``target``; dials if there is no connection with room for it.

        ``priority`` is the class that its bytes are sent in, None the one of its type. Raises as :meth:`dial`, and
        StreamRefusedError where the peer allows no more streams.
        """
        stream, _session = await self._begin((target, stream_type, priority), None)
        return stream

    def heard_of(self, identity: SpiffeId) -> None:
        """Take note that a peer has shown itself, as by connecting to us: whoever waits for it tries again at once."""
        self._connections.heard_of(identity)

    def rebind(self) -> None:
        """Move every connection to a fresh socket, for example after a report that the network has changed.

        Calls go on. Not needed where only an address or a route has changed: connections notice that. Raises OSError.
        """
        self._connections.rebind()

    def channel(
        self,
        target: Target,
        stream_type: int,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        idempotent: Iterable[str] = (),
        priority: Priority | None = None,
    ) -> grpc.aio.Channel:
        """Return a gRPC channel on a stream of ``stream_type`` to ``target``.

        It connects with the first call, and again after a loss. It belongs to this event loop and is closed with
        the dialer. ``options`` and ``interceptors`` are grpcio's. ``idempotent`` are methods, written as
        ``/package.Service/Method``, that may run twice without harm: their calls may go out with the first packets of
        a resumed connection. Those of Control and A2A are known. ``priority`` is as in :meth:`open_stream`.
        """
        group, directory = self._group(), self._directory
        assert directory is not None
        key = (target, stream_type, priority)
        known = idempotent_methods(stream_type, idempotent)
        if key not in self._sockets:
            early = self._gates[key] = EarlyGate()
            self._sockets[key] = ChannelSocket(
                directory / str(len(self._sockets)), lambda: self._open(key, early), group
            )
        self._channels_made += 1
        # grpcio's channels share a connection where all their arguments are equal: one stream for each of ours.
        arguments = [*CHANNEL_OPTIONS, self._patience, ("tndrl.channel", self._channels_made), *options]

        def make(last: Sequence[grpc.aio.ClientInterceptor]) -> grpc.aio.Channel:
            return grpc.aio.insecure_channel(
                self._sockets[key].target, options=arguments, interceptors=[*interceptors, *last]
            )

        channel = LoopBoundChannel(
            make,
            gate=TargetGate(self._connections, target),
            on_close=self._channels.discard,
            early=self._gates[key] if self._is_early else None,
            idempotent=known,
        )
        self._channels.add(channel)
        return channel

    # private

    def _group(self) -> asyncio.TaskGroup:
        if self._tasks is None:
            raise UsageError("the dialer is closed, or was never entered with 'async with'")
        return self._tasks

    async def _open(self, key: _Key, early: EarlyGate) -> ByteStream:
        """Open a stream that may be early: its gate holds what must not be."""
        stream, session = await self._begin(key, early)
        return early.guard(stream, session)

    async def _begin(self, key: _Key, early: EarlyGate | None) -> tuple[QuicStream, Session]:
        target, stream_type, priority = key
        session = await self._connections.acquire(target, early=early)
        stream = session.open_stream()
        stream.prioritize(priority_of(stream_type) if priority is None else priority)
        await stream.send(bytes([stream_type]))
        return stream, session
