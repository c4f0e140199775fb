"""The accepting side, from the socket it binds to the last connection it closes."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from pki.credentials import Credentials
from pki.spiffe import IdPattern, SpiffeId
from tndrl.errors import ConfigError, UsageError
from tndrl.transport.backends import Backends
from tndrl.transport.codes import ErrorCode
from tndrl.transport.endpoint import Endpoint, ServerCallbacks
from tndrl.transport.identity import ClientPolicy, IsRevoked, never_revoked
from tndrl.transport.peers import Peers
from tndrl.transport.priority import Priority
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.stateless_reset import ResetKey
from tndrl.transport.tickets import IssuedTickets
from tndrl.transport.udp import bind_udp, format_address
from tndrl.transport.udp_options import small_buffers

logger = logging.getLogger("tndrl.transport")

SILENCE = 1.0
"""Seconds without a datagram after which a stopping node waits for nobody any more."""


class MuxListener:
    """Accepts QUIC connections of verified peers and hands their streams to local gRPC servers by type.

    Use it as an async context manager: it listens inside, and on leaving closes every connection.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        host: str = "::",
        port: int = 4433,
        allow: Sequence[IdPattern] = (),
        type_timeout: float = 5.0,
        request_timeout: float = 10.0,
        settings: QuicSettings | None = None,
        reset_key: ResetKey | None = None,
        is_revoked: IsRevoked = never_revoked,
        on_peer: Callable[[SpiffeId], None] | None = None,
    ) -> None:
        self._credentials = credentials
        self._host = host
        self._port = port
        self._policy = ClientPolicy(credentials.bundle, tuple(allow), is_revoked)
        self._settings = settings or QuicSettings()
        self._reset_key = reset_key
        limit = self._settings.limits.tickets
        self._tickets = IssuedTickets(limit) if limit else None
        self._counters: Counter[str] = Counter()
        self._peers = Peers(self._settings.limits.connections_per_identity, self._counters, on_peer)
        self._backends = Backends(
            self._peers,
            self._settings.limits,
            self._counters,
            type_timeout=type_timeout,
            request_timeout=request_timeout,
        )
        self._endpoint: Endpoint | None = None
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        where = self.address if self._endpoint is not None else "not listening"
        return f"<MuxListener {where}, {len(self.sessions)} peers, {len(self._backends.streams)} streams>"

    @property
    def address(self) -> str:
        """The bound address as ``host:port``; raises UsageError before the listener is entered."""
        return format_address(self._running().address)

    @property
    def sessions(self) -> frozenset[Session]:
        """The connections of verified peers."""
        return self._peers.sessions

    def stats(self) -> dict[str, int]:
        """Return every counter: what happened since the start, and what is open now."""
        endpoint = self._endpoint.counters if self._endpoint is not None else Counter()
        now = {
            "connections_open": len(self.sessions),
            "handshakes_open": self._endpoint.half_open if self._endpoint is not None else 0,
            "streams_open": len(self._backends.streams),
        }
        tickets = self._tickets.counters if self._tickets is not None else Counter()
        return {**endpoint, **self._counters, **tickets, **now}

    def bind(
        self,
        stream_type: int,
        backend: str,
        *,
        holds_calls: bool = False,
        priority: Priority | None = None,
    ) -> None:
        """Send streams of ``stream_type`` to the gRPC server that listens on the unix socket ``backend``.

        ``holds_calls`` says that it has a PeerInterceptor, which holds calls that came as early data and may not; to
        any other server, streams are passed on once the handshake is confirmed. ``priority`` is the class that its
        answers are sent in, None the one of its type.
        """
        self._backends.bind(stream_type, backend, holds_calls=holds_calls, priority=priority)

    def hold(self) -> None:
        """Drop new handshakes until :meth:`accept`: callers try again by themselves."""
        self._running().is_accepting = False

    def accept(self) -> None:
        """Take new handshakes again, as a listener does from the start."""
        self._running().is_accepting = True

    async def refuse(self, stream_type: int, reason: str) -> None:
        """Answer new streams of ``stream_type`` with ``reason`` from now on, and send GOAWAY on those there are."""
        await self._backends.refuse(stream_type, reason)

    async def __aenter__(self) -> Self:
        try:
            sock = bind_udp(self._host, self._port)
            if warning := small_buffers(sock):
                logger.warning("%s", warning)
            self._endpoint = Endpoint(
                sock,
                self._credentials,
                self._settings,
                server=ServerCallbacks(
                    verify_peer=self._policy.verify,
                    on_stream=self._backends.begin,
                    on_confirmed=self._peers.enter,
                    on_closed=self._peers.leave,
                    tickets=self._tickets,
                ),
                reset_key=self._reset_key,
            )
        except OSError as error:
            address = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
            raise ConfigError(
                f"cannot listen on {address}: {error.strerror or error}; choose another address or port",
                key="server.addr",
            ) from error
        self._directory = Path(tempfile.mkdtemp(prefix="tndrl-"))
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._peers.open(self._tasks)
        self._backends.open(self._tasks, self._directory)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def _running(self) -> Endpoint:
        if self._endpoint is None:
            raise UsageError("the listener is not listening; enter it with 'async with'")
        return self._endpoint

    async def settle(self, timeout: float) -> None:
        """Wait for the open streams to end, whose servers have said their last.

        Waits at most ``timeout`` seconds, and no longer than :data:`SILENCE` for peers of whom nothing is heard.
        """
        deadline = time.monotonic() + timeout
        while self._backends.streams and (left := deadline - time.monotonic()) > 0:
            heard, streams = self.stats()["datagrams_received"], set(self._backends.streams)
            await asyncio.wait(streams, timeout=min(SILENCE, left))
            if streams == self._backends.streams and heard == self.stats()["datagrams_received"]:
                return

    async def aclose(self, code: int = ErrorCode.SHUTDOWN, reason: str = "the node shuts down") -> None:
        """Close every connection with ``code`` and ``reason`` and stop listening. Does nothing twice."""
        if self._endpoint is None or self._tasks is None or self._directory is None:
            return
        endpoint, self._endpoint = self._endpoint, None
        endpoint.close(code, reason)
        self._counters.update(endpoint.counters)
        for task in self._backends.streams:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        shutil.rmtree(self._directory)
