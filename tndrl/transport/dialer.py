"""The calling side: one verified connection per peer, and gRPC channels on its streams."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import grpc.aio

from pki.credentials import Credentials
from tndrl.errors import IdentityError, NoAnswerError, TndrlError, UsageError
from tndrl.transport import addresses
from tndrl.transport.channels import REFUSAL_TIMEOUT, ChannelSocket
from tndrl.transport.codes import ErrorCode
from tndrl.transport.endpoint import Endpoint, QuicSettings
from tndrl.transport.failures import silence
from tndrl.transport.identity import ServerPolicy, server_name
from tndrl.transport.loop_bound import LoopBoundChannel
from tndrl.transport.pool import Check, Dial, Pool, Refuse, Use
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import DOUBT_TIMEOUT, Session
from tndrl.transport.target import Target as Target
from tndrl.transport.udp import client_udp

logger = logging.getLogger("tndrl.transport")

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    # Without it two channels to one socket share one connection, and so one stream.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "tndrl"),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)


class MuxDialer:
    """Dials peers, keeps a QUIC connection to each, and opens typed streams on them.

    Use it as an async context manager. It belongs to the event loop that entered it. A connection on which no stream
    is open for ``evict_after`` seconds is closed; ``reconnect_max`` bounds the pauses between two tries.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_timeout: float = 10.0,
        evict_after: float = 300.0,
        reconnect_max: float = 30.0,
        settings: QuicSettings | None = None,
    ) -> None:
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._settings = settings or QuicSettings()
        # What grpcio calls a back-off is also how long it waits for the first bytes of a connection: our dial and more.
        self._patience = ("grpc.min_reconnect_backoff_ms", int(1000 * (connect_timeout + REFUSAL_TIMEOUT)))
        self._endpoints: dict[int, Endpoint] = {}  # by address family
        self._pool: Pool[Session] = Pool(evict_after=evict_after, reconnect_max=reconnect_max)
        self._eviction: asyncio.TimerHandle | None = None
        self._dialling: dict[Target, asyncio.Task[Session | TndrlError]] = {}
        self._counters: Counter[str] = Counter()
        self._sockets: dict[tuple[Target, int], ChannelSocket] = {}
        self._channels: set[LoopBoundChannel] = set()
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<MuxDialer {len(self._pool.connections)} connections, {len(self._channels)} channels>"

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
        if self._eviction is not None:
            self._eviction.cancel()
        for endpoint in self._endpoints.values():
            endpoint.close(ErrorCode.NO_ERROR, "done")
        await tasks.__aexit__(None, None, None)
        shutil.rmtree(self._directory)

    def failure(self, target: Target) -> TndrlError | None:
        """Return why the last connection to ``target`` failed or ended, None if it lives or was never tried."""
        return self._pool.failure(target)

    def stats(self) -> dict[str, int]:
        """Return every counter."""
        total = Counter(self._counters)
        for endpoint in self._endpoints.values():
            total.update(endpoint.counters)
        now = {
            "connections_open": sum(session.is_connected for session in self._pool.connections),
            "streams_open": sum(session.streams for session in self._pool.connections),
            "channel_connections_refused": sum(one.refused for one in self._sockets.values()),
        }
        return {**total, **now}

    async def dial(self, target: Target) -> Session:
        """Return a connection to ``target`` whose identity is verified: the one there is, or a new one.

        Waits at most the connect timeout, after a second for a connection that has long been silent to answer a PING.
        Raises ConnectError or IdentityError, those of the last try if that failed just now. Concurrent calls share one
        handshake. Safe to cancel: the handshake goes on for the others.
        """
        return await self._acquire(target, streams=0)

    async def probe(self, target: Target, timeout: float) -> None:
        """Make sure that the connection to ``target``, if there is one, lives: a node that crashed says nothing.

        One that does not answer a PING within ``timeout`` seconds is given up, which its calls then raise. Safe to
        cancel.
        """
        for session in self._pool.live(target):
            if not await _answers(session, timeout):
                session.abandon(silence(str(target), timeout))

    async def open_stream(self, target: Target, stream_type: int) -> QuicStream:
        """Open a stream of ``stream_type`` to ``target``; dials if there is no connection with room for it.

        Raises as :meth:`dial`, and StreamRefusedError where the peer allows no more streams.
        """
        session = await self._acquire(target)
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

    async def _acquire(self, target: Target, *, streams: int = 1) -> Session:
        while True:
            group, now = self._group(), asyncio.get_running_loop().time()
            match self._pool.acquire(target, now, streams=streams):
                case Use(session):
                    return session
                case Check(session):
                    if not await _answers(session, DOUBT_TIMEOUT):
                        self._pool.doubt(target, session, now)
                case Refuse(error):
                    raise error
                case Dial():
                    session = await self._dialled(target, group)
                    if session.streams_left >= streams:
                        return session

    async def _dialled(self, target: Target, group: asyncio.TaskGroup) -> Session:
        task = self._dialling.get(target)
        if task is None:
            task = group.create_task(self._dial(target), name=f"dial {target}")
            self._dialling[target] = task
            task.add_done_callback(lambda _task: self._dialling.pop(target, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, TndrlError):
            raise outcome
        return outcome

    async def _dial(self, target: Target) -> Session | TndrlError:
        """Return the connection or the failure: a task of the group must not raise."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                session = await addresses.race(
                    target,
                    await addresses.resolve(target),
                    lambda candidate: self._handshake(target, candidate),
                    _give_back,
                )
        except TimeoutError:
            error: TndrlError = NoAnswerError(str(target), self._connect_timeout)
        except TndrlError as failure:
            error = failure
        else:
            for silent in self._pool.dialled(target, session):
                silent.abandon(silence(str(target), DOUBT_TIMEOUT))
            self._evict()
            return session
        self._pool.failed(target, error, asyncio.get_running_loop().time())
        self._evict()
        self._counters["handshakes_failed"] += 1
        if isinstance(error, IdentityError):
            self._counters["handshakes_refused"] += 1
            self._counters[f"handshakes_refused.{error.alert_name}"] += 1
        logger.warning("no connection to %s: %s", target, error)
        return error

    async def _handshake(self, target: Target, candidate: addresses.Candidate) -> Session:
        family, address = candidate
        policy = ServerPolicy(self._credentials.bundle, target.host, target.expected)
        session = self._endpoint(family).connect(
            address, str(target), verify_peer=policy.verify, server_name=server_name(target.host)
        )
        try:
            await session.wait_connected()
        except asyncio.CancelledError:
            _give_back(session)
            session.abandon(NoAnswerError(str(target), self._connect_timeout))
            raise
        return session

    def _endpoint(self, family: int) -> Endpoint:
        if family not in self._endpoints:
            self._endpoints[family] = Endpoint(client_udp(family), self._credentials, self._settings)
        return self._endpoints[family]

    def _evict(self) -> None:
        """Close the connections that nobody has used for long, and come back when the next one may be due."""
        loop = asyncio.get_running_loop()
        idle, again_at = self._pool.evict(loop.time())
        for session in idle:
            self._counters["connections_evicted"] += 1
            session.close(ErrorCode.NO_ERROR, "idle")
        if self._eviction is not None:
            self._eviction.cancel()
        self._eviction = None if again_at is None else loop.call_at(again_at, self._evict)


async def _answers(session: Session, timeout: float) -> bool:
    """Return whether a connection answers a PING within ``timeout`` seconds, or has ended by itself meanwhile."""
    try:
        async with asyncio.timeout(timeout):
            await session.ping()
    except TimeoutError:
        return False
    except TndrlError:
        logger.debug("the connection to %s ended while it was probed", session.label)
    return True


def _give_back(session: Session) -> None:
    """Close a connection that another one has made superfluous."""
    session.close(ErrorCode.NO_ERROR, "not needed")
