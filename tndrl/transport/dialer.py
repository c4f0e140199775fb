"""The calling side: one verified connection per peer, and gRPC channels on its streams."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc.aio

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from tndrl.errors import (
    ConnectError,
    IdentityError,
    NameResolutionError,
    NoAnswerError,
    TndrlError,
    UsageError,
)
from tndrl.transport.channels import REFUSAL_TIMEOUT, ChannelSocket
from tndrl.transport.codes import ErrorCode
from tndrl.transport.endpoint import Endpoint, QuicSettings
from tndrl.transport.failures import silence
from tndrl.transport.identity import ServerPolicy, server_name
from tndrl.transport.loop_bound import LoopBoundChannel
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.udp import Address, client_udp

logger = logging.getLogger("tndrl.transport")

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    # Without it two channels to one socket share one connection, and so one stream.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "tndrl"),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True)
class Target:
    """Whom to call: an address, and the identity expected there. Connections are shared by equal targets."""

    host: str
    port: int
    expected: SpiffeId | None = None
    """With it the certificate must say so and the host name does not matter; without, the host name must match."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MuxDialer:
    """Dials peers, keeps one QUIC connection to each, and opens typed streams on them.

    Use it as an async context manager. It belongs to the event loop that entered it.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_timeout: float = 10.0,
        settings: QuicSettings | None = None,
    ) -> None:
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._settings = settings or QuicSettings()
        # What grpcio calls a back-off is also how long it waits for the first bytes of a connection: our dial and more.
        self._patience = ("grpc.min_reconnect_backoff_ms", int(1000 * (connect_timeout + REFUSAL_TIMEOUT)))
        self._endpoints: dict[int, Endpoint] = {}  # by address family
        self._sessions: dict[Target, Session] = {}
        self._dialling: dict[Target, asyncio.Task[Session | TndrlError]] = {}
        self._failures: dict[Target, TndrlError] = {}  # of the last attempt, where it failed
        self._counters: Counter[str] = Counter()
        self._sockets: dict[tuple[Target, int], ChannelSocket] = {}
        self._channels: set[LoopBoundChannel] = set()
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<MuxDialer {len(self._sessions)} connections, {len(self._channels)} channels>"

    async def __aenter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="tndrl-"))
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
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
        for task in self._dialling.values():
            task.cancel()
        for endpoint in self._endpoints.values():
            endpoint.close(ErrorCode.NO_ERROR, "done")
        await tasks.__aexit__(None, None, None)
        shutil.rmtree(self._directory)

    def failure(self, target: Target) -> TndrlError | None:
        """Return why the last connection to ``target`` failed or ended, None if it lives or was never tried."""
        session = self._sessions.get(target)
        return session.failure if session is not None else self._failures.get(target)

    def stats(self) -> dict[str, int]:
        """Return every counter."""
        total = Counter(self._counters)
        for endpoint in self._endpoints.values():
            total.update(endpoint.counters)
        now = {
            "connections_open": sum(session.is_connected for session in self._sessions.values()),
            "streams_open": sum(session.streams for session in self._sessions.values()),
            "channel_connections_refused": sum(one.refused for one in self._sockets.values()),
        }
        return {**total, **now}

    async def dial(self, target: Target) -> Session:
        """Return a connection to ``target`` whose identity is verified: the one there is, or a new one.

        Waits at most the connect timeout and raises ConnectError or IdentityError. Concurrent calls share one
        handshake. Safe to cancel: the handshake goes on for the others.
        """
        session = self._sessions.get(target)
        if session is not None and session.is_connected:
            return session
        task = self._dialling.get(target)
        if task is None:
            task = self._group().create_task(self._dial(target), name=f"dial {target}")
            self._dialling[target] = task
            task.add_done_callback(lambda _task: self._dialling.pop(target, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, TndrlError):
            raise outcome
        return outcome

    async def probe(self, target: Target, timeout: float) -> None:
        """Make sure that the connection to ``target``, if there is one, lives: a node that crashed says nothing.

        One that does not answer a PING within ``timeout`` seconds is given up, which its calls then raise. Safe to
        cancel.
        """
        session = self._sessions.get(target)
        if session is None or session.is_closed:
            return
        try:
            async with asyncio.timeout(timeout):
                await session.ping()
        except TimeoutError:
            session.abandon(silence(str(target), timeout))
        except TndrlError:
            logger.debug("the connection to %s ended while it was probed", target)

    async def open_stream(self, target: Target, stream_type: int) -> QuicStream:
        """Open a stream of ``stream_type`` to ``target``; dials if there is no connection. Raises TndrlError."""
        session = await self.dial(target)
        stream = session.open_stream()
        await stream.send(bytes([stream_type]))
        return stream

    def channel(
        self,
        target: Target,
        stream_type: int,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Return a gRPC channel on a stream of ``stream_type`` to ``target``.

        It connects with the first call, and again after a loss. It belongs to this event loop and is closed with
        the dialer. ``options`` and ``interceptors`` are grpcio's.
        """
        group, directory = self._group(), self._directory
        assert directory is not None
        key = (target, stream_type)
        if key not in self._sockets:
            self._sockets[key] = ChannelSocket(
                directory / str(len(self._sockets)), lambda: self.open_stream(target, stream_type), group
            )
        channel = LoopBoundChannel(
            grpc.aio.insecure_channel(
                self._sockets[key].target,
                options=[*CHANNEL_OPTIONS, self._patience, *options],
                interceptors=list(interceptors),
            ),
            on_close=self._channels.discard,
        )
        self._channels.add(channel)
        return channel

    # private

    def _group(self) -> asyncio.TaskGroup:
        if self._tasks is None:
            raise UsageError("the dialer is closed, or was never entered with 'async with'")
        return self._tasks

    async def _dial(self, target: Target) -> Session | TndrlError:
        """Return the connection or the failure: a task of the group must not raise."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                session = await self._try_addresses(target)
        except TimeoutError:
            error: TndrlError = NoAnswerError(str(target), self._connect_timeout)
        except TndrlError as failure:
            error = failure
        else:
            self._sessions[target] = session
            self._failures.pop(target, None)
            return session
        self._failures[target] = error
        self._sessions.pop(target, None)
        self._counters["handshakes_failed"] += 1
        if isinstance(error, IdentityError):
            self._counters["handshakes_refused"] += 1
            self._counters[f"handshakes_refused.{error.alert_name}"] += 1
        logger.warning("no connection to %s: %s", target, error)
        return error

    async def _try_addresses(self, target: Target) -> Session:
        """Try the addresses of a name one after the other: the next at once where a port is closed."""
        addresses = await self._resolve(target)
        failure: TndrlError | None = None
        for index, (family, address) in enumerate(addresses):
            last = index == len(addresses) - 1
            try:
                async with asyncio.timeout(None if last else self._connect_timeout / len(addresses)):
                    return await self._handshake(target, family, address)
            except TimeoutError:
                failure = NoAnswerError(str(target), self._connect_timeout)
            except ConnectError as error:
                failure = error
            except OSError as error:  # this host has no IPv6, or no descriptors left
                failure = ConnectError(str(target), error.strerror or str(error))
        assert failure is not None
        raise failure

    async def _resolve(self, target: Target) -> list[tuple[int, Address]]:
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise NameResolutionError(str(target), error.strerror or str(error)) from error
        except UnicodeError as error:  # a label that is empty or over 63 characters
            raise NameResolutionError(str(target), "it is no host name") from error
        return [(family, address) for family, _type, _protocol, _name, address in infos]

    async def _handshake(self, target: Target, family: int, address: Address) -> Session:
        policy = ServerPolicy(self._credentials.bundle, target.host, target.expected)
        session = self._endpoint(family).connect(
            address, str(target), verify_peer=policy.verify, server_name=server_name(target.host)
        )
        try:
            await session.wait_connected()
        except asyncio.CancelledError:
            session.abandon(NoAnswerError(str(target), self._connect_timeout))
            raise
        return session

    def _endpoint(self, family: int) -> Endpoint:
        if family not in self._endpoints:
            self._endpoints[family] = Endpoint(client_udp(family), self._credentials, self._settings)
        return self._endpoints[family]
