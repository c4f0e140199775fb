"""An accepted stream between its type and its end: nothing of it reaches a service that the guard has not seen."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from pki.spiffe import SpiffeId
from tndrl.config import LimitsConfig
from tndrl.errors import TndrlError
from tndrl.transport.bridge import splice
from tndrl.transport.codes import ErrorCode
from tndrl.transport.h2_guard import FrameGuard, ViolationError, check_preface
from tndrl.transport.http2 import PREFACE, FrameGate
from tndrl.transport.path_guard import PathGuard
from tndrl.transport.rate import PeerRates, TokenBucket
from tndrl.transport.stream import ByteStream

FORGIVEN = 10
"""Streams of one connection that may break a rule within a minute. The next one costs the connection."""

RESETS_OF_PEER = 5
"""How many times the calls that it may reset on one stream a peer may reset on all of its streams."""


class Watch:
    """What is remembered of peers beyond one stream, so that each new stream is not a new beginning."""

    def __init__(self, limits: LimitsConfig, timeout: float) -> None:
        self._limits = limits
        self._timeout = timeout
        self._resets = PeerRates(RESETS_OF_PEER * limits.resets_per_second)
        self._forgiven: WeakKeyDictionary[object, TokenBucket] = WeakKeyDictionary()

    def guard(self, peer: SpiffeId) -> FrameGuard:
        """Return the guard of a new stream of ``peer``."""
        now = asyncio.get_running_loop().time()
        return FrameGuard(self._limits, self._timeout, now, self._resets.bucket(peer, now))

    def is_too_much(self, connection: object, violation: ViolationError) -> bool:
        """Count a violation on a stream of ``connection``; returns whether the connection must go."""
        if violation.code not in (ErrorCode.EXCESSIVE_LOAD, ErrorCode.FRAME_INVALID):
            return False
        now = asyncio.get_running_loop().time()
        bucket = self._forgiven.get(connection)
        if bucket is None:
            bucket = self._forgiven[connection] = TokenBucket(FORGIVEN / 60, now, burst=FORGIVEN)
        return bucket.take(now) > 0


async def read_preface(stream: ByteStream, timeout: float) -> None:
    """Take a client's connection preface (RFC 9113 section 3.4) and nothing after it.

    Raises ViolationError at the first byte that is not of one, and after ``timeout`` seconds; safe to cancel.
    """
    seen = b""
    try:
        async with asyncio.timeout(timeout):
            while len(seen) < len(PREFACE):
                data = await stream.receive(len(PREFACE) - len(seen))
                if not data:
                    raise ViolationError(
                        ErrorCode.PREFACE_INVALID, "ended before its HTTP/2 connection preface"
                    )
                seen += data
                check_preface(seen)
    except TimeoutError:
        reason = f"no HTTP/2 connection preface within {timeout:g} s"
        raise ViolationError(ErrorCode.REQUEST_TIMEOUT, reason) from None


async def carry(
    stream: ByteStream, backend: ByteStream, gate: FrameGate, guard: FrameGuard
) -> TndrlError | None:
    """Splice a stream whose preface has been read to its service, and let ``guard`` watch it.

    Returns what :func:`splice` does; raises ViolationError when the client breaks a rule or lets the ``timeout`` of a
    step pass. Safe to cancel; both streams stay the caller's to end.
    """
    clock = asyncio.get_running_loop().time
    paths = PathGuard()

    def watched(data: bytes) -> bytes:
        guard.feed(data, clock())
        paths.feed(data)
        if guard.due != deadline.when() and not deadline.expired():
            deadline.reschedule(guard.due)
        return data

    await backend.send(PREFACE)
    try:
        async with asyncio.timeout_at(guard.due) as deadline:
            return await splice(backend, stream, outbound=gate.feed, inbound=watched)
    except TimeoutError:
        reason = f"{guard.awaited} did not come within {guard.timeout:g} s"
        raise ViolationError(ErrorCode.REQUEST_TIMEOUT, reason) from None
