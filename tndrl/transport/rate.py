"""How often something may happen: token buckets, without a clock of their own."""

from __future__ import annotations

from collections import OrderedDict

from pki.spiffe import SpiffeId

KNOWN_PEERS = 4096
"""Peers whose rates are remembered; the one that was not heard of for longest is forgotten first."""


class TokenBucket:
    """Allows ``rate`` events a second, and ``burst`` at once after a quiet time; a second's worth if that is None."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = rate if burst is None else burst
        self._left = self._burst  # events that are allowed at once
        self._at = now

    def take(self, now: float) -> float:
        """Return 0.0 if an event is allowed now, and count it; else after how many seconds one will be.

        ``now`` is in seconds of any clock that never goes back.
        """
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0


class PeerRates:
    """A token bucket for each SPIFFE ID: whoever opens more connections may do no more on all of them."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: OrderedDict[SpiffeId, TokenBucket] = OrderedDict()

    def bucket(self, peer: SpiffeId, now: float) -> TokenBucket:
        """Return the bucket that all calls and connections of ``peer`` share."""
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = TokenBucket(self._rate, now)
            if len(self._buckets) > KNOWN_PEERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        return bucket
