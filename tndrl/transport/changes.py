"""Waiting for something to be different."""

from __future__ import annotations

import asyncio

from tndrl.transport.stream import wake


class Changes:
    """Wakes all who wait whenever something has changed; each looks for itself whether that is what it waits for."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Something has changed."""
        for waiter in self._waiters:
            wake(waiter)

    async def next(self, timeout: float | None = None) -> None:
        """Wait for the next change, ``timeout`` seconds at most. Safe to cancel."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._waiters.discard(waiter)
