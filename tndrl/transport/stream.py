"""The one byte-stream interface between QUIC and everything else."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tndrl.errors import UsageError

CHUNK = 256 * 1024
"""Bytes that one receive returns at most unless told otherwise."""


def sent_after_end() -> UsageError:
    """Return the error of sending on a stream whose own end has been sent."""
    return UsageError("nothing can be sent after the end of a stream")


class ByteStream(ABC):
    """A reliable two-way stream of bytes, each direction with its own end.

    One task may receive and one may send at a time. After an error every further call raises the same error, but where
    only sending has failed: then receiving goes on to its own end.
    """

    @abstractmethod
    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return 1 to ``limit`` bytes, or ``b""`` at the end of what the peer sends.

        Raises StreamClosedError if the stream was reset and ConnectionClosedError if its connection is gone.
        Safe to cancel: nothing that was received is lost.
        """

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send all of ``data``; waits while the peer or the network takes no more.

        Raises as :meth:`receive` does, and UsageError after :meth:`send_eof`. When cancelled, it may have sent some of
        the data, all, or none.
        """

    @property
    def bite(self) -> int:
        """How many bytes to take up at once in order to send them: fewer where memory for them is short."""
        return CHUNK

    @property
    def first_bite(self) -> int:
        """The same after a quiet time, when many streams may wake together."""
        return CHUNK

    @abstractmethod
    async def send_eof(self) -> None:
        """End what we send; the other direction goes on. Calling it again does nothing."""

    @abstractmethod
    def abort(self, code: int) -> None:
        """Give up both directions at once with an application error code. Calling it again does nothing."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release the stream; aborts what has not ended. Calling it again does nothing."""
