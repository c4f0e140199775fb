"""Reading an answer while it is written, in texts that are worth an event each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

from tndrl.errors import ProviderError

logger = logging.getLogger("tndrl.agent")

INTERVAL = 0.05
"""Seconds between two texts of one answer; what comes meanwhile is joined."""

MAX_ANSWER = 1_000_000
"""Characters of one answer; the provider of a longer one has failed."""

MAX_WAITING = 65_536
"""Characters that are read before the reader waits for them to be taken."""

STOP_TIMEOUT = 5.0
"""Seconds that a provider has to end once it is told to."""

_abandoned: set[asyncio.Task[None]] = set()


class Reading:
    """The texts of one answer: the first at once, the next ones at least ``interval`` seconds apart.

    Use it as an async context manager; leaving it ends the provider's work.
    """

    def __init__(
        self, pieces: AsyncGenerator[str], *, interval: float = INTERVAL, longest: int = MAX_ANSWER
    ) -> None:
        self.stopped = False
        self._pieces = pieces
        self._interval = interval
        self._longest = longest
        self._length = 0
        self._waiting: list[str] = []
        self._unread = 0
        self._news = asyncio.Event()  # something waits to be taken, or nothing more will
        self._room = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End the provider's work; there are no more texts. Does nothing twice."""
        self.stopped = True
        self._news.set()
        if self._reader is not None:
            self._reader.cancel()

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read(), name="tndrl answer")
        self._reader.add_done_callback(lambda _: self._news.set())
        if self.stopped:
            self._reader.cancel()
        return self

    async def __aexit__(self, *_error: object) -> None:
        reader = self._reader
        assert reader is not None
        reader.cancel()
        await asyncio.wait({reader}, timeout=STOP_TIMEOUT)
        if not reader.done():
            logger.error("a provider goes on %g s after it was told to end; it is abandoned", STOP_TIMEOUT)
            _abandoned.add(reader)
            reader.add_done_callback(_abandoned.discard)
        elif not reader.cancelled() and (fault := reader.exception()) is not None and self.stopped:
            logger.debug("a provider that was told to end failed: %r", fault)

    async def texts(self) -> AsyncGenerator[str]:
        """Yield the texts; ends early once stopped. Raises what the provider does, ProviderError if it is too long."""
        reader = self._reader
        assert reader is not None
        while True:
            await self._news.wait()
            if self.stopped:
                return
            if not self._waiting:
                reader.result()
                return
            text = "".join(self._waiting)
            self._waiting.clear()
            self._unread = 0
            self._room.set()
            if not reader.done():
                self._news.clear()
            yield text
            await asyncio.wait({reader}, timeout=self._interval)

    async def _read(self) -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                self._length += len(piece)
                if self._length > self._longest:
                    raise ProviderError(f"the answer has more than {self._longest} characters")
                if not piece:
                    continue
                self._waiting.append(piece)
                self._unread += len(piece)
                self._news.set()
                if self._unread >= MAX_WAITING:
                    self._room.clear()
                    await self._room.wait()
