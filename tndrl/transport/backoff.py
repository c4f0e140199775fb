"""How long to wait before the next try to reach a peer that could not be reached."""

from __future__ import annotations

import random

FIRST_PAUSE = 0.1
"""Seconds that the first pause may last; each later one may last twice as long."""

LONGEST_REFUSAL = 1.0
"""Seconds after a failed try in which calls are told its reason; a later one makes a new try, pause or not."""


class Backoff:
    """Exponential backoff with full jitter: a pause lasts anything between nothing and its ceiling.

    Peers that lost one node at the same moment so spread their handshakes over all of the pause. The times are those
    of one clock, whichever.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._failures = 0  # in a row
        self._failed_at = 0.0
        self._pause = 0.0

    def __repr__(self) -> str:
        return f"<Backoff {self._failures} failures, pause {self._pause:.3f} s>"

    @property
    def due(self) -> float:
        """When whoever waits for the peer should try again."""
        return self._failed_at + self._pause

    def refuses(self, now: float) -> bool:
        """Return whether the last try failed so recently that a call makes no new one."""
        return now < self._failed_at + min(self._pause, LONGEST_REFUSAL)

    def failed(self, now: float) -> None:
        """Note a try that failed."""
        ceiling = min(self._longest, FIRST_PAUSE * 2 ** min(self._failures, 30))
        self._failures += 1
        self._failed_at = now
        self._pause = random.uniform(0, ceiling)

    def hurry(self) -> None:
        """End the pause: there is a sign that the peer can be reached."""
        self._pause = 0.0

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._failures = 0
        self._pause = 0.0
