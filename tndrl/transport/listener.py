"""The accepting side: verifies who connects, reads each stream's type, and bridges it to the service it names."""

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

import grpc

from pki.credentials import Credentials
from pki.spiffe import IdPattern, SpiffeId
from tndrl.errors import (
    ConfigError,
    IdentityError,
    TndrlError,
    UsageError,
)
from tndrl.transport import descriptors, http2, registry
from tndrl.transport.codes import ErrorCode
from tndrl.transport.confirmation import Confirmation
from tndrl.transport.descriptors import DescriptorBudget, streams_within
from tndrl.transport.endpoint import Endpoint, QuicSettings, ServerCallbacks, format_address
from tndrl.transport.h2_guard import ViolationError
from tndrl.transport.identity import ClientPolicy, IsRevoked, never_revoked
from tndrl.transport.identity_cap import IdentityCap
from tndrl.transport.inbound import Watch, carry, read_preface
from tndrl.transport.priority import Priority, priority_of
from tndrl.transport.quic_stream import Connection, QuicStream
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.registry import PeerIdentity
from tndrl.transport.session import Session
from tndrl.transport.stateless_reset import ResetKey
from tndrl.transport.stream_type import StreamType, type_name
from tndrl.transport.tickets import IssuedTickets
from tndrl.transport.turn_away import turn_away
from tndrl.transport.udp import bind_udp
from tndrl.transport.udp_options import small_buffers
from tndrl.transport.unix import UnixStream

logger = logging.getLogger("tndrl.transport")

SILENCE = 1.0
"""Seconds without a datagram after which a stopping node waits for nobody any more."""

REFUSAL_LINGER = 5.0
"""Seconds a refused caller has to read why and end its stream."""


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
        self._type_timeout = type_timeout
        self._request_timeout = request_timeout
        self._settings = settings or QuicSettings()
        self._reset_key = reset_key
        self._on_peer = on_peer
        limit = self._settings.limits.tickets
        self._tickets = IssuedTickets(limit) if limit else None
        self._backends: dict[int, str] = {}
        self._holding: set[int] = set()  # types whose backends hold calls that must not be early data
        self._priorities: dict[int, Priority] = {}
        self._refusals: dict[int, str] = {}
        self._bridges: dict[QuicStream, tuple[int, http2.FrameGate]] = {}
        self._counters: Counter[str] = Counter()
        self._watch = Watch(self._settings.limits, request_timeout)
        self._confirmed: set[Session] = set()
        self._cap: IdentityCap[Session] = IdentityCap(self._settings.limits.connections_per_identity)
        self._descriptors: DescriptorBudget[SpiffeId] = DescriptorBudget(0)
        self._waiting: dict[object, asyncio.Task[None]] = {}  # for room under the cap
        self._endpoint: Endpoint | None = None
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._streams: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        where = self.address if self._endpoint is not None else "not listening"
        return f"<MuxListener {where}, {len(self._confirmed)} peers, {len(self._streams)} streams>"

    @property
    def address(self) -> str:
        """The bound address as ``host:port``; raises UsageError before the listener is entered."""
        return format_address(self._running().address)

    @property
    def sessions(self) -> frozenset[Session]:
        """The connections of verified peers."""
        return frozenset(self._confirmed)

    def stats(self) -> dict[str, int]:
        """Return every counter: what happened since the start, and what is open now."""
        endpoint = self._endpoint.counters if self._endpoint is not None else Counter()
        now = {
            "connections_open": len(self._confirmed),
            "handshakes_open": self._endpoint.half_open if self._endpoint is not None else 0,
            "streams_open": len(self._streams),
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
        self._backends[stream_type] = backend
        self._priorities[stream_type] = priority_of(stream_type) if priority is None else priority
        if holds_calls:
            self._holding.add(stream_type)

    def hold(self) -> None:
        """Drop new handshakes until :meth:`accept`: callers try again by themselves."""
        self._running().is_accepting = False

    def accept(self) -> None:
        """Take new handshakes again, as a listener does from the start."""
        self._running().is_accepting = True

    async def refuse(self, stream_type: int, reason: str) -> None:
        """Answer new streams of ``stream_type`` with ``reason`` from now on, and send GOAWAY on those there are."""
        self._refusals[stream_type] = reason
        for stream, (carried, gate) in tuple(self._bridges.items()):
            if carried == stream_type and gate.is_between_frames:
                try:
                    stream.put(http2.goaway(reason))  # a stalled peer must not hold up the rest
                except TndrlError as error:
                    logger.debug("%r ended before its GOAWAY: %s", stream, error)

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
                    on_stream=self._handle_stream,
                    on_confirmed=self._handle_confirmed,
                    on_closed=self._handle_closed,
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
        percent = self._settings.limits.descriptors_percent
        self._descriptors = DescriptorBudget(streams_within(percent, descriptors.limit()))
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
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
        while self._streams and (left := deadline - time.monotonic()) > 0:
            heard, streams = self.stats()["datagrams_received"], set(self._streams)
            await asyncio.wait(streams, timeout=min(SILENCE, left))
            if streams == self._streams and heard == self.stats()["datagrams_received"]:
                return

    async def aclose(self, code: int = ErrorCode.SHUTDOWN, reason: str = "the node shuts down") -> None:
        """Close every connection with ``code`` and ``reason`` and stop listening. Does nothing twice."""
        if self._endpoint is None or self._tasks is None or self._directory is None:
            return
        endpoint, self._endpoint = self._endpoint, None
        endpoint.close(code, reason)
        self._counters.update(endpoint.counters)
        for task in self._streams:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        shutil.rmtree(self._directory)

    # Called by the endpoint's sessions

    def _handle_confirmed(self, session: Session) -> None:
        if self._cap.enter(session):
            self._welcome(session)
            return
        assert self._tasks is not None
        self._waiting[session] = self._tasks.create_task(self._make_room(session), name="make room")

    async def _make_room(self, session: Session) -> None:
        try:
            if await self._cap.make_room(session):
                self._welcome(session)
            elif not session.is_closed:
                most = self._settings.limits.connections_per_identity
                self._counters["connections_refused"] += 1
                session.refuse(
                    f"{session.peer_id} has {most} connections here, which all live (limits.connectionsPerIdentity)"
                )
        finally:
            del self._waiting[session]

    def _welcome(self, session: Session) -> None:
        self._confirmed.add(session)
        self._counters["handshakes_completed"] += 1
        logger.info("%s connected from %s", session.peer_id, session.label)
        if self._on_peer is not None and session.peer_id is not None:
            self._on_peer(session.peer_id)

    def _handle_closed(self, session: Session) -> None:
        failure = session.failure
        self._cap.leave(session)
        if session in self._confirmed:
            self._confirmed.discard(session)
            logger.info("%s at %s is gone: %s", session.peer_id, session.label, failure)
            return
        self._counters["handshakes_failed"] += 1
        if isinstance(failure, IdentityError):
            self._counters["handshakes_refused"] += 1
            self._counters[f"handshakes_refused.{failure.alert_name}"] += 1
        logger.warning("handshake with %s failed: %s", session.label, failure)

    def _handle_stream(self, stream: QuicStream) -> None:
        assert self._tasks is not None
        if stream.session.peer_id is None:
            stream.abort(ErrorCode.INTERNAL)  # cannot be: nothing decrypts before the client is verified
            return
        task = self._tasks.create_task(self._serve(stream), name=f"stream {stream.stream_id}")
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    # One stream

    async def _serve(self, stream: QuicStream) -> None:
        try:
            if (waiting := self._waiting.get(stream.session)) is not None:
                await asyncio.wait({waiting})
            stream_type = await self._read_type(stream)
            if stream_type is None:
                return
            if stream_type not in self._backends:
                self._reset(stream, ErrorCode.UNKNOWN_STREAM_TYPE, f"unknown type {stream_type:#04x}")
                return
            stream.prioritize(self._priorities[stream_type])
            await read_preface(stream, self._request_timeout)
            if stream_type in self._refusals:
                await self._turn_away(stream, self._refusals[stream_type])
            else:
                await self._bridge_within_budget(stream, stream_type)
        except ViolationError as violation:
            self._reset(stream, violation.code, violation.reason)
            if self._watch.is_too_much(stream.session, violation):
                self._counters["connections_ended"] += 1
                stream.session.close(violation.code, "too many streams broke the rules of HTTP/2")
        except TndrlError as error:
            logger.debug("%r of %s: %s", stream, stream.session.peer_id, error)
        except Exception:
            # One stream's fault must not end the group of all streams.
            logger.exception("fault in %r; the stream is reset", stream)
            stream.abort(ErrorCode.INTERNAL)
        finally:
            await stream.aclose()

    async def _read_type(self, stream: QuicStream) -> int | None:
        try:
            async with asyncio.timeout(self._type_timeout):
                first = await stream.receive(1)
        except TimeoutError:
            self._reset(stream, ErrorCode.STREAM_TYPE_TIMEOUT, f"no type within {self._type_timeout:g} s")
            return None
        if not first:
            self._reset(stream, ErrorCode.STREAM_TYPE_MISSING, "ended before its type")
            return None
        return first[0]

    def _reset(self, stream: QuicStream, code: ErrorCode, why: str) -> None:
        self._counters["streams_reset"] += 1
        self._counters[f"streams_reset.{code.name.lower()}"] += 1
        logger.info("stream %d of %s reset: %s", stream.stream_id, stream.session.peer_id, why)
        stream.abort(code)

    async def _bridge_within_budget(self, stream: QuicStream, stream_type: int) -> None:
        peer = stream.session.peer_id
        assert peer is not None
        if not self._descriptors.take(peer, control=stream_type == StreamType.CONTROL):
            self._counters["streams_refused.descriptors"] += 1
            await self._turn_away(stream, "too many streams are open here (limits.descriptorsPercent)")
            return
        try:
            await self._bridge(stream, stream_type)
        finally:
            self._descriptors.give_back(peer)

    async def _bridge(self, stream: QuicStream, stream_type: int) -> None:
        session = stream.session
        assert self._directory is not None
        confirmation = await self._confirmation(session, stream_type)
        assert session.peer_id is not None
        peer = PeerIdentity(session.peer_id, session.label, session.number)
        name = registry.register(self._directory, peer, confirmation)
        try:
            try:
                backend = await UnixStream.connect(self._backends[stream_type], bind=name)
            except OSError as error:
                self._counters["backends_unreachable"] += 1
                logger.error("the service on type %s cannot be reached: %s", type_name(stream_type), error)
                await self._turn_away(stream, "the service cannot be reached; try again later")
                return
            self._counters["streams_bridged"] += 1
            gate = http2.FrameGate()
            self._bridges[stream] = (stream_type, gate)
            await self._splice(backend, stream, gate)
        finally:
            self._bridges.pop(stream, None)
            registry.unregister(name)

    async def _confirmation(self, session: Connection, stream_type: int) -> Confirmation | None:
        """Return what holds the calls of a stream of early data, None for any other stream."""
        if session.is_confirmed:
            return None
        if stream_type not in self._holding:
            await session.wait_confirmed()
            return None
        assert self._tasks is not None
        confirmation = Confirmation()
        # Every handshake ends: this task needs nobody to cancel it.
        self._tasks.create_task(confirmation.follow(session), name=f"confirmation of {session.label}")
        return confirmation

    async def _splice(self, backend: UnixStream, stream: QuicStream, gate: http2.FrameGate) -> None:
        try:
            assert stream.session.peer_id is not None
            if await carry(stream, backend, gate, self._watch.guard(stream.session.peer_id)) is not None:
                backend.abort(ErrorCode.CANCELLED)
        except BaseException:
            backend.abort(ErrorCode.CANCELLED)
            raise
        finally:
            await backend.aclose()

    async def _turn_away(self, stream: QuicStream, reason: str) -> None:
        self._counters["streams_refused"] += 1
        try:
            async with asyncio.timeout(REFUSAL_LINGER):
                await turn_away(stream, Refusal(grpc.StatusCode.UNAVAILABLE, reason, SOON))
        except TimeoutError:
            logger.debug("%r did not end after it was refused", stream)
