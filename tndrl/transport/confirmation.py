"""Whether the handshake behind a stream is confirmed: services, on threads of their own, hold calls until it is."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Protocol

from tndrl.errors import TndrlError


class Handshake(Protocol):
    """What a confirmation follows."""

    async def wait_confirmed(self) -> None:
        """Wait until it is confirmed; raises TndrlError where it failed."""


class Confirmation:
    """The end of one handshake, for which any thread and any event loop can wait."""

    def __init__(self) -> None:
        self._outcome: Future[bool] = Future()

    @property
    def is_confirmed(self) -> bool:
        """Whether the handshake is confirmed; False while it runs and after it has failed."""
        return self._outcome.done() and self._outcome.result()

    async def follow(self, handshake: Handshake) -> None:
        """Settle when ``handshake`` is confirmed or has failed: one of the two it will be."""
        try:
            await handshake.wait_confirmed()
        except TndrlError:
            self._outcome.set_result(False)
        else:
            self._outcome.set_result(True)

    def wait(self) -> bool:
        """Block this thread until the handshake has ended; return whether it is confirmed."""
        return self._outcome.result()

    async def arrived(self) -> bool:
        """Wait until the handshake has ended and return whether it is confirmed. Safe to cancel."""
        return await asyncio.shield(asyncio.wrap_future(self._outcome))
