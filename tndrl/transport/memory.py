"""A byte stream in memory: the double that tests of bridges and services use in place of QUIC."""

from __future__ import annotations

import asyncio

from tndrl.errors import StreamResetError
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.stream import CHUNK, ByteStream, sent_after_end


class _Pipe:
    """One direction: a bounded buffer, its end, and what broke it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.buffer = bytearray()
        self.ended = False
        self.changed = asyncio.Event()  # replaced at every change

    @property
    def room(self) -> int:
        return self.capacity - len(self.buffer)

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryStream(ByteStream):
    """One end of an in-memory pair; see :func:`memory_pair`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, resets: list[tuple[ByteStream, int]]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._resets = resets  # shared by both ends: who gave up, with which code

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return what the other end sent."""
        pipe = self._incoming
        while True:
            self._raise_if_reset()
            if pipe.buffer or pipe.ended:
                break
            await pipe.changed.wait()
        data = bytes(pipe.buffer[:limit])
        del pipe.buffer[:limit]
        pipe.notify()
        return data

    async def send(self, data: bytes) -> None:
        """Hand ``data`` to the other end, as much at a time as its buffer takes."""
        pipe, sent = self._outgoing, 0
        if pipe.ended:
            raise sent_after_end()
        while True:
            self._raise_if_reset()
            if sent == len(data):
                return
            if pipe.room == 0:
                await pipe.changed.wait()
                continue
            piece = data[sent : sent + pipe.room]
            pipe.buffer += piece
            sent += len(piece)
            pipe.notify()

    async def send_eof(self) -> None:
        """End what we send."""
        self._raise_if_reset()
        self._outgoing.ended = True
        self._outgoing.notify()

    def abort(self, code: int) -> None:
        """Fail both ends with ``code``."""
        self._resets.append((self, code))
        self._incoming.notify()
        self._outgoing.notify()

    async def aclose(self) -> None:
        """Release this end; resets it if either direction has not ended."""
        if not (self._incoming.ended and self._outgoing.ended):
            self.abort(ErrorCode.CANCELLED)

    def _raise_if_reset(self) -> None:
        if self._resets:
            who, code = self._resets[0]
            raise StreamResetError(code, code_name(code, application=True), remote=who is not self)


def memory_pair(capacity: int = 64 * 1024) -> tuple[MemoryStream, MemoryStream]:
    """Return two connected streams; each direction holds ``capacity`` bytes that nobody has received yet."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    resets: list[tuple[ByteStream, int]] = []
    return MemoryStream(back, there, resets), MemoryStream(there, back, resets)
