"""What may be early data (0-RTT), and what waits until the peer has proved itself again.

Whoever sees early data can send it again, so only calls that may run twice without harm go out in it. One gate stands
before the streams of a channel socket: it is told of every other call before grpcio is, so what has been read from
grpcio by then cannot be of that call.
"""

from __future__ import annotations

from collections.abc import Callable

from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.stream import CHUNK, ByteStream, Told


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
        self._tell_writable: Told = None
        session.when_connected(self._on_connected)

    def _on_connected(self) -> None:
        if self._tell_writable is not None:
            self._tell_writable()

    def hold(self) -> bool:
        """Send nothing more as early data; returns whether something could have been."""
        self._is_held = True
        return self._session.is_early

    def take(self, limit: int = CHUNK) -> bytes | None:
        """Return what the peer sent."""
        return self._stream.take(limit)

    def when_readable(self, told: Told) -> None:
        """Call ``told`` when the peer has sent something."""
        self._stream.when_readable(told)

    @property
    def is_full(self) -> bool:
        """Whether nothing may be sent now."""
        return (self._is_held and self._session.is_early) or self._stream.is_full

    def put(self, data: bytes, *, at_once: bool = False) -> None:
        """Send all of ``data``."""
        self._stream.put(data, at_once=at_once)

    def when_writable(self, told: Told) -> None:
        """Call ``told`` when the handshake is over, and when the stream is not full."""
        self._tell_writable = told
        self._stream.when_writable(told)

    def put_eof(self) -> None:
        """End what we send."""
        self._stream.put_eof()

    def raise_if_unsendable(self) -> None:
        """Raise what has ended sending."""
        self._stream.raise_if_unsendable()

    def abort(self, code: int) -> None:
        """Reset both directions."""
        self._stream.abort(code)

    async def aclose(self) -> None:
        """Release the stream."""
        self._on_close(self)
        await self._stream.aclose()
