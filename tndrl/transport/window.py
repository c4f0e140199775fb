"""How far a sender may be ahead of its reader: a window that grows by what is read, never by what is sent."""

from __future__ import annotations

ROUND_TRIPS = 2
"""A reader that empties a window within so many round trips is held up by it, so it is made larger."""


class ReceiveWindow:
    """The credit of one stream: what was passed on plus one window (RFC 9000 section 4.2)."""

    def __init__(self, size: int, most: int, now: float) -> None:
        self.size = size
        self.consumed = 0
        self._most = max(size, most)
        self._granted_at = now  # when the limit was last raised, and for how much consumption
        self._granted_for = 0

    def __repr__(self) -> str:
        return f"<ReceiveWindow {self.size} of {self._most} bytes, {self.consumed} consumed>"

    def raised(self, limit: int, now: float, round_trip: float) -> int | None:
        """Return what ``limit`` rises to once the sender has used half of its window, else None.

        ``round_trip`` is the shortest one seen, in seconds: a queue that the sender itself fills is no reason to grow.
        """
        if self.consumed + self.size - limit < self.size // 2:
            return None
        share = (self.consumed - self._granted_for) / self.size
        if now - self._granted_at < ROUND_TRIPS * round_trip * share:
            self.size = min(2 * self.size, self._most)
        self._granted_at, self._granted_for = now, self.consumed
        return self.consumed + self.size
