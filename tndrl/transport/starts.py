"""How many handshakes a caller begins at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 64
"""Handshakes that begin together. Each takes some milliseconds of this process: hundreds at once would all stand still
for longer than their peers wait (``transport.handshakeTimeout``)."""

LONGEST = 1.0
"""Seconds after which one that nobody answers makes room for the next."""


class Starts:
    """Hands out turns, first come, first served. Belongs to one event loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the block, or after :data:`LONGEST` seconds for others. Safe to cancel."""
        await self._free.acquire()
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(LONGEST, end)
        try:
            yield
        finally:
            timer.cancel()
            end()
