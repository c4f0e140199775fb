"""What becomes of a peer's stream: by its type it is carried to the service bound to that, turned away or reset."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import grpc

from pki.spiffe import SpiffeId
from tndrl.config import LimitsConfig
from tndrl.errors import TndrlError
from tndrl.transport import descriptors, http2, registry
from tndrl.transport.codes import ErrorCode
from tndrl.transport.confirmation import Confirmation
from tndrl.transport.descriptors import DescriptorBudget, streams_within
from tndrl.transport.h2_guard import ViolationError
from tndrl.transport.inbound import Watch, carry, read_preface
from tndrl.transport.peers import Peers
from tndrl.transport.priority import Priority, priority_of
from tndrl.transport.quic_stream import Connection, QuicStream
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.registry import PeerIdentity
from tndrl.transport.stream_type import StreamType, type_name
from tndrl.transport.turn_away import turn_away
from tndrl.transport.unix import UnixStream

logger = logging.getLogger("tndrl.transport")

REFUSAL_LINGER = 5.0
"""Seconds a refused caller has to read why and end its stream."""


class Backends:
    """The local gRPC servers and the streams to them. Its tasks belong to the group that it is opened with."""

    def __init__(
        self,
        peers: Peers,
        limits: LimitsConfig,
        counters: Counter[str],
        *,
        type_timeout: float,
        request_timeout: float,
    ) -> None:
        self._peers = peers
        self._limits = limits
        self._counters = counters
        self._type_timeout = type_timeout
        self._request_timeout = request_timeout
        self._paths: dict[int, str] = {}
        self._holding: set[int] = set()  # types whose backends hold calls that must not be early data
        self._priorities: dict[int, Priority] = {}
        self._refusals: dict[int, str] = {}
        self._bridges: dict[QuicStream, tuple[int, http2.FrameGate]] = {}
        self._watch = Watch(limits, request_timeout)
        self._descriptors: DescriptorBudget[SpiffeId] = DescriptorBudget(0)
        self._directory: Path | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._streams: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> Collection[asyncio.Task[None]]:
        """What serves the open streams."""
        return self._streams

    def open(self, tasks: asyncio.TaskGroup, directory: Path) -> None:
        """Begin; the connections to the servers get their names in ``directory``."""
        self._tasks = tasks
        self._directory = directory
        self._descriptors = DescriptorBudget(
            streams_within(self._limits.descriptors_percent, descriptors.limit())
        )

    def bind(
        self,
        stream_type: int,
        backend: str,
        *,
        holds_calls: bool,
        priority: Priority | None,
    ) -> None:
        """Send streams of ``stream_type`` to a server; see ``MuxListener.bind``."""
        self._paths[stream_type] = backend
        self._priorities[stream_type] = priority_of(stream_type) if priority is None else priority
        if holds_calls:
            self._holding.add(stream_type)

    async def refuse(self, stream_type: int, reason: str) -> None:
        """Answer new streams of ``stream_type`` with ``reason`` from now on, and send GOAWAY on those there are."""
        self._refusals[stream_type] = reason
        for stream, (carried, gate) in tuple(self._bridges.items()):
            if carried == stream_type and gate.is_between_frames:
                try:
                    stream.put(http2.goaway(reason))  # a stalled peer must not hold up the rest
                except TndrlError as error:
                    logger.debug("%r ended before its GOAWAY: %s", stream, error)

    def begin(self, stream: QuicStream) -> None:
        """Read the type of a new stream and do what it asks for."""
        assert self._tasks is not None
        if stream.session.peer_id is None:
            stream.abort(ErrorCode.INTERNAL)  # cannot be: nothing decrypts before the client is verified
            return
        task = self._tasks.create_task(self._serve(stream), name=f"stream {stream.stream_id}")
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    # private

    async def _serve(self, stream: QuicStream) -> None:
        try:
            await self._peers.wait_entered(stream.session)
            stream_type = await self._read_type(stream)
            if stream_type is None:
                return
            if stream_type not in self._paths:
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
                backend = await UnixStream.connect(self._paths[stream_type], bind=name)
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
