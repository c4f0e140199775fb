"""File descriptors, of which a process has only so many: a share for bridged streams, and how that is shared out."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

PER_STREAM = 2
"""Descriptors that a bridged stream costs: both ends of its unix connection are in this process."""

RESERVE = 8
"""One part in so many of the streams is for Control alone: a node that is full can still be asked and stopped."""

UNLIMITED = 1 << 20
"""Descriptors that are counted with where the system names no limit."""

P = TypeVar("P", bound=Hashable)


def raise_limit() -> None:
    """Raise this process's soft limit to its hard one, where the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS allows less than the hard limit it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many descriptors this process may open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else UNLIMITED


def streams_within(percent: int, descriptors: int) -> int:
    """Return how many bridged streams fit into a share of ``descriptors``."""
    return max(RESERVE, descriptors * percent // 100 // PER_STREAM)


class DescriptorBudget(Generic[P]):
    """Lets peers have streams as long as there are descriptors for them.

    A peer may have as many as are still free: alone it gets half, with others less, and there is always room for one
    that has none yet.
    """

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._held: Counter[P] = Counter()

    @property
    def used(self) -> int:
        """Streams that are bridged now."""
        return self._held.total()

    def take(self, peer: P, *, control: bool) -> bool:
        """Count one more stream of ``peer``, on Control or not, and return True if there is room for it."""
        reserved = 0 if control else self._streams // RESERVE
        if self._held[peer] >= self._streams - reserved - self._held.total():
            return False
        self._held[peer] += 1
        return True

    def give_back(self, peer: P) -> None:
        """A stream that was counted has ended."""
        self._held[peer] -= 1
        if not self._held[peer]:
            del self._held[peer]
