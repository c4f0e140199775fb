"""What may be early data (0-RTT), and what waits until the peer has proved itself again.

Whoever sees early data can send it again, so only calls that may run twice without harm go out in it. One gate stands
before the streams of a channel socket: it is told of every other call before grpcio is, so what has been read from
grpcio by then cannot be of that call.
"""

from __future__ import annotations

from collections.abc import Callable

from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.stream import CHUNK, ByteStream


class EarlyGate:
    """Holds the streams of one channel socket back while they are early and calls run that must not run twice."""

    def __init__(self) -> None:
        self.held = 0  # calls that had to wait
        self._running = 0  # calls that must not run twice
        self._streams: set[EarlyStream] = set()

    @property
    def is_open(self) -> bool:
        """Whether a stream that is opened now may be early."""
        return not self._running

    def begin(self) -> None:
        """Note that a call begins that must not be early data."""
        self._running += 1
        held = [stream for stream in self._streams if stream.hold()]
        self.held += bool(held)

    def end(self, _call: object = None) -> None:
        """Note that it has ended."""
        self._running -= 1

    def note_held(self) -> None:
        """Count the calls for which a stream was opened later than it could have been."""
        self.held += self._running

    def guard(self, stream: QuicStream, session: Session) -> ByteStream:
        """Return ``stream``, or one that waits in time, while ``session`` is early."""
        if not session.is_early:
            return stream
        guarded = EarlyStream(stream, session, self._streams.discard)
        self._streams.add(guarded)
        return guarded


class EarlyStream(ByteStream):
    """A stream that sends early data until it is held, and then waits for the end of the handshake."""

    def __init__(self, stream: QuicStream, session: Session, on_close: Callable[[EarlyStream], None]) -> None:
        self._stream = stream
        self._session = session
        self._on_close = on_close
        self._is_held = False

    def hold(self) -> bool:
        """Send nothing more as early data; returns whether something could have been."""
        self._is_held = True
        return self._session.is_early

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return what the peer sent."""
        return await self._stream.receive(limit)

    async def send(self, data: bytes) -> None:
        """Send all of ``data``, after the handshake if the stream is held."""
        if self._is_held and self._session.is_early:
            await self._session.wait_connected()
        await self._stream.send(data)

    async def send_eof(self) -> None:
        """End what we send."""
        await self._stream.send_eof()

    def abort(self, code: int) -> None:
        """Reset both directions."""
        self._stream.abort(code)

    async def aclose(self) -> None:
        """Release the stream."""
        self._on_close(self)
        await self._stream.aclose()
