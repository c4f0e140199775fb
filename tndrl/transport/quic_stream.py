"""One bidirectional QUIC stream, as a byte stream."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from pki.spiffe import SpiffeId
from tndrl.errors import StreamResetError, TndrlError
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.priority import Priority
from tndrl.transport.send_budget import STREAM_SHARE, SendBudget
from tndrl.transport.stream import CHUNK, ByteStream, Told, sent_after_end, tell_later


class Connection(Protocol):
    """What a stream needs of the connection it is on."""

    number: int
    label: str
    peer_id: SpiffeId | None
    is_client: bool

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection with one of our codes."""

    @property
    def is_confirmed(self) -> bool:
        """Whether both sides have verified each other."""

    async def wait_confirmed(self) -> None:
        """Wait until they have; raises the typed failure."""

    def flush_soon(self) -> None:
        """Send what is due, when the running callbacks are done."""

    def flush_early(self) -> None:
        """Send what is due now, if that is not much more often than :meth:`flush_soon` would."""


class Siblings(Protocol):
    """What a stream needs of the streams beside it."""

    budget: SendBudget

    def tell_soon(self, stream: QuicStream) -> None:
        """Tell a stream's reader that something has come, once all of it is there."""

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is over on this side."""

    def watch_sender(self, stream: QuicStream, *, blocked: bool) -> None:
        """Note whether a stream's sender waits for acknowledgements."""


class QuicStream(ByteStream):
    """One bidirectional QUIC stream."""

    def __init__(
        self, session: Connection, siblings: Siblings, quic: AuthenticatedConnection, stream_id: int
    ) -> None:
        self.session = session
        self._siblings = siblings
        self.stream_id = stream_id
        self._quic = quic
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()  # received, not yet passed on
        self._ended = False  # the peer's FIN has been received
        self._eof_sent = False
        self._aborted = False
        self._failure: TndrlError | None = None  # of both directions
        self._send_failure: TndrlError | None = None
        self._tell_readable: Told = None
        self._tell_writable: Told = None

    def __repr__(self) -> str:
        state = repr(self._failure) if self._failure else "open"
        return f"<QuicStream {self.stream_id} of {self.session.label}, {state}>"

    def prioritize(self, priority: Priority) -> None:
        """Send this stream's bytes with those of a class of streams."""
        self._quic.prioritize(self.stream_id, priority)

    def take(self, limit: int = CHUNK) -> bytes | None:
        """Return what the peer sent; passing it on is what grants the peer more (RFC 9000 section 4)."""
        if not self._chunks:
            if self._ended and not self._aborted:
                return b""
            if self._failure is not None:
                raise self._failure
            return None
        data = self._take(limit)
        if self._quic.consume(self.stream_id, len(data), self._loop.time()):
            self.session.flush_soon()
        return data

    def when_readable(self, told: Told) -> None:
        """Call ``told`` when the peer has sent something."""
        self._tell_readable = told

    def tell_readable(self) -> None:
        """Something has come."""
        if self._tell_readable is not None:
            self._tell_readable()

    def _take(self, limit: int) -> bytes:
        taken = [self._chunks.popleft()]
        size = len(taken[0])
        while self._chunks and size + len(self._chunks[0]) <= limit:
            taken.append(self._chunks.popleft())
            size += len(taken[-1])
        data = taken[0] if len(taken) == 1 else b"".join(taken)
        if size > limit:
            self._chunks.appendleft(data[limit:])
            data = data[:limit]
        return data

    @property
    def is_full(self) -> bool:
        """Whether more bytes are unacknowledged than the connection's budget allows."""
        return (
            self._quic.unsent(self.stream_id) > self._siblings.budget.stream_most
            and self._failure is None
            and self._send_failure is None
        )

    def put(self, data: bytes, *, at_once: bool = False) -> None:
        """Send all of ``data``, however full the stream is."""
        self.raise_if_unsendable()
        if self._eof_sent:
            raise sent_after_end()
        self._siblings.budget.add(len(data))
        self._quic.send_stream_data(self.stream_id, data)
        if at_once:
            self.session.flush_early()
        else:
            self.session.flush_soon()

    def when_writable(self, told: Told) -> None:
        """Call ``told`` when the peer has acknowledged enough."""
        self._tell_writable = told
        self._siblings.watch_sender(self, blocked=told is not None)

    @property
    def bite(self) -> int:
        """How many bytes to take up at once; see :class:`SendBudget`."""
        return self._siblings.budget.bite

    @property
    def first_bite(self) -> int:
        """How many of a stream that has been quiet: a thousand may wake together."""
        return STREAM_SHARE

    def put_eof(self) -> None:
        """End what we send with a FIN."""
        self.raise_if_unsendable()
        if not self._eof_sent:
            self._eof_sent = True
            self._quic.send_stream_data(self.stream_id, b"", end_stream=True)
            self.session.flush_soon()

    def abort(self, code: int) -> None:
        """Reset what we send and ask the peer to stop (RFC 9000 sections 19.4 and 19.5)."""
        self._reset(code, remote=False)
        self.session.flush_soon()

    async def aclose(self) -> None:
        """Release the stream; what was sent with its end still arrives, and the peer is asked to send no more."""
        if not self._eof_sent:
            self.abort(ErrorCode.CANCELLED)
            return
        if not self._ended and self._failure is None and self._quic.is_known(self.stream_id):
            self._quic.stop_stream(self.stream_id, ErrorCode.CANCELLED)
            self.session.flush_soon()
        self._fail(StreamResetError(ErrorCode.CANCELLED, ErrorCode.CANCELLED.name, remote=False))
        self._let_go()

    def on_data(self, data: bytes, *, end: bool) -> None:
        """Take bytes in order, as the session delivers them."""
        if data:
            self._chunks.append(data)
        self._ended = self._ended or end
        self._siblings.tell_soon(self)

    def on_reset(self, code: int) -> None:
        """The peer gave up what it sends; both directions are over, because a call needs both."""
        self._reset(code, remote=True)

    def on_stop_sending(self, code: int) -> None:
        """The peer takes no more. What it sends goes on to its end if it answers us; it has no use if we answer."""
        if self.session.is_client:
            self._send_failure = StreamResetError(code, code_name(code, application=True), remote=True)
            tell_later(self._tell_writable)
        else:
            self._reset(code, remote=True)

    def on_connection_lost(self, failure: TndrlError) -> None:
        """The connection is over."""
        self._fail(failure)

    def on_flushed(self) -> None:
        """Packets went out or were acknowledged: there may be room to send."""
        if (
            self._tell_writable is not None
            and self._quic.unsent(self.stream_id) <= self._siblings.budget.stream_most // 2
        ):
            self._tell_writable()

    def _reset(self, code: int, *, remote: bool) -> None:
        if self._aborted:
            return
        self._aborted = True
        self._fail(StreamResetError(code, code_name(code, application=True), remote=remote))
        if self._quic.is_known(self.stream_id) and not self.session.is_closed:
            self._quic.reset_stream(self.stream_id, code)
            if not self._ended:
                self._quic.stop_stream(self.stream_id, code)
        self._let_go()

    def _let_go(self) -> None:
        unread = sum(len(chunk) for chunk in self._chunks)
        self._chunks.clear()
        self._quic.consume(self.stream_id, unread, self._loop.time())
        self._siblings.forget(self.stream_id)

    def _fail(self, failure: TndrlError) -> None:
        if self._failure is None:
            self._failure = failure
        tell_later(self._tell_readable)
        tell_later(self._tell_writable)

    def raise_if_unsendable(self) -> None:
        """Raise what has ended sending."""
        if (failure := self._failure or self._send_failure) is not None:
            raise failure
