"""A byte stream in memory: the double that tests of bridges and services use in place of QUIC."""

from __future__ import annotations

from tndrl.errors import StreamResetError
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.stream import CHUNK, ByteStream, Told, sent_after_end, tell_later


class _Pipe:
    """One direction: a bounded buffer, its end, and whom to tell of changes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.buffer = bytearray()
        self.ended = False
        self.tell_readable: Told = None
        self.tell_writable: Told = None

    @property
    def is_full(self) -> bool:
        return len(self.buffer) >= self.capacity


class MemoryStream(ByteStream):
    """One end of an in-memory pair; see :func:`memory_pair`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, resets: list[tuple[ByteStream, int]]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._resets = resets  # shared by both ends: who gave up, with which code

    def take(self, limit: int = CHUNK) -> bytes | None:
        """Return what the other end sent."""
        self.raise_if_unsendable()
        pipe = self._incoming
        if not pipe.buffer and not pipe.ended:
            return None
        data = bytes(pipe.buffer[:limit])
        del pipe.buffer[:limit]
        if not pipe.is_full:
            tell_later(pipe.tell_writable)
        return data

    def when_readable(self, told: Told) -> None:
        """Call ``told`` when the other end has sent something."""
        self._incoming.tell_readable = told

    @property
    def is_full(self) -> bool:
        """Whether the other end has yet to take as much as the stream holds."""
        return self._outgoing.is_full and not self._resets

    def put(self, data: bytes, *, at_once: bool = False) -> None:
        """Hand ``data`` to the other end."""
        if self._outgoing.ended:
            raise sent_after_end()
        self.raise_if_unsendable()
        self._outgoing.buffer += data
        tell_later(self._outgoing.tell_readable)

    def when_writable(self, told: Told) -> None:
        """Call ``told`` when the other end has taken something."""
        self._outgoing.tell_writable = told

    def put_eof(self) -> None:
        """End what we send."""
        self.raise_if_unsendable()
        self._outgoing.ended = True
        tell_later(self._outgoing.tell_readable)

    def abort(self, code: int) -> None:
        """Fail both ends with ``code``."""
        self._resets.append((self, code))
        for pipe in (self._incoming, self._outgoing):
            tell_later(pipe.tell_readable)
            tell_later(pipe.tell_writable)

    async def aclose(self) -> None:
        """Release this end; resets it if either direction has not ended."""
        if not (self._incoming.ended and self._outgoing.ended):
            self.abort(ErrorCode.CANCELLED)

    def raise_if_unsendable(self) -> None:
        """Raise what has ended both directions."""
        if self._resets:
            who, code = self._resets[0]
            raise StreamResetError(code, code_name(code, application=True), remote=who is not self)


def memory_pair(capacity: int = 64 * 1024) -> tuple[MemoryStream, MemoryStream]:
    """Return two connected streams; either direction is full with ``capacity`` bytes that nobody has received yet."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    resets: list[tuple[ByteStream, int]] = []
    return MemoryStream(back, there, resets), MemoryStream(there, back, resets)
