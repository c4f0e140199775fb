"""Counts calls: those that run, for the node's state and its drain, and those of each peer, which are bounded."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable

import grpc

from tndrl.config import LimitsConfig
from tndrl.transport.rate import PeerRates
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.registry import PeerIdentity

WHEN_ONE_ENDS = 0.1
"""Seconds after which a peer with too many calls at once may try again."""


def _too_many(limit: int, where: str) -> Refusal:
    text = f"more than {limit:,} calls at once {where}; wait until some have ended"
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text, WHEN_ONE_ENDS)


class PeerCalls:
    """Bounds what each peer may call, at once and in a second, over all its connections. For any thread."""

    def __init__(self, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._rates = PeerRates(limits.calls_per_second)
        self._running: Counter[Hashable] = Counter()  # by identity, and by connection

    def enter(self, peer: PeerIdentity) -> Refusal | None:
        """Count a call of ``peer``, or return with what it is refused."""
        limits, running = self._limits, self._running
        with self._lock:
            if running[peer.connection] >= limits.calls_per_connection:
                return _too_many(limits.calls_per_connection, "on one connection")
            if running[peer.spiffe_id] >= limits.calls_per_identity:
                return _too_many(limits.calls_per_identity, f"by {peer.spiffe_id}")
            now = self._clock()
            if wait := self._rates.bucket(peer.spiffe_id, now).take(now):
                text = f"more than {limits.calls_per_second:,} calls a second by {peer.spiffe_id}; slow down"
                return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait)
            running[peer.connection] += 1
            running[peer.spiffe_id] += 1
        return None

    def leave(self, peer: PeerIdentity) -> None:
        """A call that was let in has ended."""
        with self._lock:
            for key in (peer.connection, peer.spiffe_id):
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]


class CallGate:
    """Counts running calls, from any thread; bounds those of one stream, and lets none in once it is closed.

    Gates that share ``peers`` bound each peer together.
    """

    def __init__(
        self,
        on_change: Callable[[int], None] | None = None,
        *,
        limits: LimitsConfig | None = None,
        peers: PeerCalls | None = None,
    ) -> None:
        self.limits = limits or LimitsConfig()
        self._peers = peers or PeerCalls(self.limits)
        self._lock = threading.Lock()
        self._running = 0
        self._by_stream: Counter[str] = Counter()
        self._total = 0
        self._refused = 0
        self._held = 0
        self._refusal: Refusal | None = None  # of every further call
        self._on_change = on_change

    def __repr__(self) -> str:
        state = self._refusal.reason if self._refusal is not None else "open"
        return f"<CallGate {self._running} running, {state}>"

    @property
    def running(self) -> int:
        """Calls that run now."""
        return self._running

    @property
    def total(self) -> int:
        """Calls let in since the start."""
        return self._total

    @property
    def refused(self) -> int:
        """Calls not let in since the start."""
        return self._refused

    @property
    def held(self) -> int:
        """Calls that came as early data and had to wait for the end of the handshake."""
        return self._held

    def note_held(self) -> None:
        """Count a call that has to wait."""
        with self._lock:
            self._held += 1

    def close(self, reason: str) -> None:
        """Refuse every further call with ``reason``; those that run go on."""
        with self._lock:
            self._refusal = Refusal(grpc.StatusCode.UNAVAILABLE, reason, SOON)

    def enter(self, stream: str, peer: PeerIdentity) -> Refusal | None:
        """Count a call of ``peer`` on ``stream``, a name that ``context.peer()`` gives; or return why it is refused."""
        with self._lock:
            refusal = self._judge(stream, peer)
            if refusal is not None:
                self._refused += 1
                return refusal
            self._by_stream[stream] += 1
            self._running += 1
            self._total += 1
            self._tell()
        return None

    def leave(self, stream: str, peer: PeerIdentity) -> None:
        """A call that was let in has ended."""
        self._peers.leave(peer)
        with self._lock:
            self._by_stream[stream] -= 1
            if not self._by_stream[stream]:
                del self._by_stream[stream]
            self._running -= 1
            self._tell()

    def _judge(self, stream: str, peer: PeerIdentity) -> Refusal | None:
        if self._refusal is not None:
            return self._refusal
        if self._by_stream[stream] >= self.limits.calls_per_stream:
            return _too_many(self.limits.calls_per_stream, "on one stream")
        return self._peers.enter(peer)

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self._running)
