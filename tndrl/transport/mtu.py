"""How large the datagrams of a path may be, found out by trying (RFC 8899, RFC 9000 section 14.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable

BASE = 1200
"""Bytes of UDP payload that every path of QUIC carries (RFC 9000 section 14)."""

LARGEST = 16383
"""Bytes of a datagram that aioquic can build: longer frames do not fit the lengths it writes."""

COMMON = (16336, 8952, 1472, 1452, 1392)
"""Payloads that links let through: macOS's loopback, jumbo frames, Ethernet with IPv4 and IPv6, common tunnels."""

MAX_PROBES = 3
"""Probes of one size that are lost before that size is known not to pass (RFC 8899 section 5.1.2)."""

PRECISION = 16
"""Bytes below which a better answer is not worth a probe."""

RAISE_AFTER = 600.0
"""Seconds until a finished search is repeated, in case the path has grown (PMTU_RAISE_TIMER)."""

SEARCH_AGAIN = 5.0
"""Seconds from a black hole to the next search."""

BLACK_HOLE = 3
"""Large packets in a row that are lost while smaller ones pass, until the path is taken for a black hole."""


class PathMtu:
    """What one path carries: begins with :data:`BASE`, searches upwards, and falls back when large packets vanish.

    It decides and does no I/O. Sizes are bytes of UDP payload, times seconds, numbers those of packets.
    """

    def __init__(self, ceiling: int) -> None:
        self.size = BASE  # what may be sent
        self.black_holes = 0
        self._ceiling = max(BASE, min(ceiling, LARGEST))
        self._failed = self._ceiling + 1  # the smallest that is known not to pass
        self._probing: int | None = None  # the size of the probe that is under way
        self._lost_probes = 0  # of the size that is searched now
        self._search_at = -math.inf
        self._pauses = False  # before the next search, from when it is asked for
        self._passed = -1  # the last large packet that was acknowledged
        self._small_passed = -1
        self._suspects: list[int] = []  # large packets lost since

    def __repr__(self) -> str:
        return f"<PathMtu {self.size} of {self._ceiling}, {self.black_holes} black holes>"

    def next_probe(self, now: float) -> int | None:
        """Return the size of a probe that is to be sent now, None if there is none; one is under way at a time."""
        if self._pauses:
            self._pauses, self._search_at = False, now + SEARCH_AGAIN
        if self._probing is not None or now < self._search_at:
            return None
        self._probing = self._candidate()
        if self._probing is None:
            self._search_at = now + RAISE_AFTER
            self._forget_search()
        return self._probing

    def is_quiet(self, now: float) -> bool:
        """Whether :meth:`next_probe` would return None and change nothing."""
        return not self._pauses and (self._probing is not None or now < self._search_at)

    def probe_acked(self, size: int) -> None:
        """A probe arrived."""
        if size == self._probing:
            self._probing, self._lost_probes = None, 0
            self.size = size

    def probe_lost(self, size: int) -> None:
        """A probe was lost, which says nothing of congestion (RFC 9000 section 14.4)."""
        if size == self._probing:
            self._probing = None
            self._lost_probes += 1
            if self._lost_probes == MAX_PROBES:
                self._failed, self._lost_probes = size, 0

    def acked(self, number: int, size: int) -> None:
        """A packet that was no probe was acknowledged."""
        if size <= BASE:
            self._small_passed = max(self._small_passed, number)
            return
        self._passed = max(self._passed, number)
        if self._suspects:
            self._suspects = [suspect for suspect in self._suspects if suspect > number]

    def lost(self, packets: Iterable[tuple[int, int]]) -> None:
        """Packets that were no probes, with their sizes, were lost, in the order of their numbers.

        A lost small packet speaks for congestion or an outage, a large one that arrived later for congestion; what is
        left are large ones that vanish while small ones pass.
        """
        for number, size in packets:
            if size <= BASE:
                self._suspects.clear()
            elif number > self._passed:
                self._suspects.append(number)
        if len([number for number in self._suspects if number < self._small_passed]) >= BLACK_HOLE:
            self.black_holes += 1
            self.size = BASE
            self._suspects.clear()
            self._pauses = True
            self._forget_search()

    def _forget_search(self) -> None:
        self._failed = self._ceiling + 1
        self._probing, self._lost_probes = None, 0

    def _candidate(self) -> int | None:
        """Return the next size to try: the ceiling, then what is common, then the middle of what is left."""
        if self.size == self._ceiling or self._failed - self.size <= PRECISION:
            return None
        if self._failed > self._ceiling:
            return self._ceiling
        return next(
            (size for size in COMMON if self.size < size < self._failed), (self.size + self._failed) // 2
        )
