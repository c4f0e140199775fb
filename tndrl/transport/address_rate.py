"""How often each address may do something, where addresses may be invented. Pure: the caller says what time it is."""

from __future__ import annotations

from collections import Counter

ADDRESSES = 4096
"""Addresses that are counted at a time: whoever invents addresses must not fill memory with them."""


class AddressRate:
    """Lets each address pass a number of times a second, counted from one whole second to the next.

    Once :data:`ADDRESSES` have passed in a second, others have to wait for the next: to forget the oldest instead, as
    a cache does, would let whoever invents more of them pass for ever.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._passed: Counter[str] = Counter()

    def allows(self, host: str, now: float) -> bool:
        """Count one more of ``host`` at ``now`` seconds; returns whether it may pass."""
        if int(now) != self._second:
            self._second = int(now)
            self._passed.clear()
        count = self._passed[host]
        if count >= self._per_second or (not count and len(self._passed) >= ADDRESSES):
            return False
        self._passed[host] = count + 1
        return True
