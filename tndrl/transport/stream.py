"""The one byte-stream interface between QUIC and everything else."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from tndrl.errors import UsageError

CHUNK = 256 * 1024
"""Bytes that one receive returns at most unless told otherwise."""

Told = Callable[[], None] | None
"""Who is to be told of a change; None if nobody is."""


def sent_after_end() -> UsageError:
    """Return the error of sending on a stream whose own end has been sent."""
    return UsageError("nothing can be sent after the end of a stream")


class ByteStream(ABC):
    """A reliable two-way stream of bytes, each direction with its own end.

    It is used from one event loop, by coroutines or by callbacks: :meth:`take` and :meth:`put` never wait, and
    :meth:`when_readable` and :meth:`when_writable` tell when to try again. One may receive and one may send at a time.
    After an error every further call raises the same error, but where only sending has failed: then receiving goes on
    to its own end.
    """

    @abstractmethod
    def take(self, limit: int = CHUNK) -> bytes | None:
        """Return 1 to ``limit`` bytes, ``b""`` at the end of what the peer sends, and None if nothing has come yet.

        Raises StreamClosedError if the stream was reset and ConnectionClosedError if its connection is gone.
        """

    @abstractmethod
    def put(self, data: bytes, *, at_once: bool = False) -> None:
        """Send all of ``data``, or keep what the peer or the network does not take now.

        It may wait for company until the running callbacks are done, unless it is to leave ``at_once``.

        Raises as :meth:`take` does, and UsageError after :meth:`put_eof`.
        """

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether so much is kept that nothing more should be put. False once sending has failed: trying tells why."""

    @abstractmethod
    def put_eof(self) -> None:
        """End what we send; the other direction goes on. Calling it again does nothing."""

    @abstractmethod
    def when_readable(self, told: Told) -> None:
        """Call ``told`` whenever :meth:`take` may have something again, once it had nothing. It must not raise."""

    @abstractmethod
    def when_writable(self, told: Told) -> None:
        """Call ``told`` whenever the stream may not be full any more. It must not raise."""

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Wait for what :meth:`take` returns; raises what it raises. Safe to cancel: nothing is lost."""
        while (data := self.take(limit)) is None:
            await _told(self.when_readable)
        return data

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; waits while the stream is full.

        Raises as :meth:`put` does. When cancelled, it may have sent some of the data, all, or none.
        """
        await self._emptied()
        self.put(data)
        await self._emptied()

    async def _emptied(self) -> None:
        while self.is_full:
            await _told(self.when_writable)
        self.raise_if_unsendable()

    @abstractmethod
    def raise_if_unsendable(self) -> None:
        """Raise what :meth:`put` would raise for a failure."""

    async def send_eof(self) -> None:
        """End what we send, as :meth:`put_eof`."""
        await self._emptied()
        self.put_eof()

    @property
    def bite(self) -> int:
        """How many bytes to take up at once in order to send them: fewer where memory for them is short."""
        return CHUNK

    @property
    def first_bite(self) -> int:
        """The same after a quiet time, when many streams may wake together."""
        return CHUNK

    @abstractmethod
    def abort(self, code: int) -> None:
        """Give up both directions at once with an application error code. Calling it again does nothing."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release the stream; aborts what has not ended. Calling it again does nothing."""


def wake(waiter: asyncio.Future[None] | None) -> None:
    """Let whoever waits go on."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def tell_later(told: Told) -> None:
    """Call ``told``, if anybody is to be told, when the running callback is done."""
    if told is not None:
        asyncio.get_running_loop().call_soon(told)


async def _told(when: Callable[[Told], None]) -> None:
    """Wait until ``when`` tells; safe to cancel."""
    waiter = asyncio.get_running_loop().create_future()
    when(lambda: wake(waiter))
    try:
        await waiter
    finally:
        when(None)
