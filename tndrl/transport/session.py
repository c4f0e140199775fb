"""One live QUIC connection: its timers, its streams, and how it ended."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    HandshakeCompleted,
    PingAcknowledged,
    QuicEvent,
)

from pki.spiffe import SpiffeId
from tndrl.errors import StreamRefusedError, TndrlError
from tndrl.transport._aioquic.connection import AuthenticatedConnection, HandshakeConfirmed, StreamOpened
from tndrl.transport.changes import Changes
from tndrl.transport.codes import ErrorCode, TransportCode
from tndrl.transport.failures import explain_close
from tndrl.transport.liveness import Liveness
from tndrl.transport.open_streams import OpenStreams
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.turns import WAITING, WAITING_EARLY
from tndrl.transport.udp import Address

logger = logging.getLogger("tndrl.transport")


_numbers = itertools.count(1)

TIMER_SLACK = 0.0005
"""Seconds by which a timer counts as due, so that the loop is not asked to wait for less than it can."""

COMPANY = 0.0002
"""Seconds in which what is sent on several streams waits to leave together."""


class Datagrams(Protocol):
    """What a session needs of the socket it lives on."""

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send datagrams in order."""

    def register(self, connection_id: bytes, session: Session) -> None:
        """Route datagrams with this connection ID to ``session``."""

    def unregister(self, connection_id: bytes) -> None:
        """Stop routing a retired connection ID."""

    def expect_reset(self, token: bytes, session: Session) -> None:
        """Know by this token that the peer of ``session`` has forgotten it."""

    def discard(self, session: Session) -> None:
        """Forget a session that is over."""

    def unanswered(self, session: Session) -> None:
        """Take note that nothing was acknowledged in time."""


class Session:
    """One QUIC connection, from its first packet to the end of its closing period.

    The endpoint feeds it datagrams and owns it; nothing in here awaits the network.
    """

    def __init__(
        self,
        quic: AuthenticatedConnection,
        endpoint: Datagrams,
        address: Address,
        label: str,
        *,
        keepalive: float,
        handshake_timeout: float | None = None,
        on_stream: Callable[[QuicStream], None] | None = None,
        on_confirmed: Callable[[Session], None] | None = None,
        on_closed: Callable[[Session], None] | None = None,
    ) -> None:
        self.number = next(_numbers)  # tells it from every other of this process
        self.label = label  # the peer in messages: what was dialled, or where it came from
        self.is_client = on_stream is None  # who opens the streams
        self.peer_id: SpiffeId | None = None  # set once the peer has proved it
        self.failure: TndrlError | None = None  # set once the connection is over
        self._quic = quic
        self._endpoint = endpoint
        self._address = address
        self._keepalive = keepalive
        self._on_stream = on_stream
        self._on_confirmed = on_confirmed
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._connected = False  # we have verified the peer
        self._confirmed = False  # and the handshake is confirmed: the peer has verified us
        self._on_connected: list[Callable[[], None]] = []
        self._changes = Changes()  # of what is above, and of pings
        self._pings_sent = 0
        self._pings_pending: set[int] = set()
        self._open = OpenStreams(quic)
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None  # when aioquic wants its timer to fire, which is not before ``_timer``
        self._flush_handle: asyncio.Handle | None = None
        self._reset_token: bytes | None = None  # that of the peer's connection ID in use
        self._is_flushing = False
        self._flushed_early_at = 0.0
        self._released = False  # the endpoint has forgotten this session: nothing is sent any more
        self.heard_at = self._loop.time()  # when the last datagram came
        self.liveness = Liveness(self, handshake_timeout)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "confirmed" if self.is_confirmed else "handshake"
        return f"<Session {self.label} {state}, {self.peer_id or 'unverified'}, {self.streams} streams>"

    @property
    def address(self) -> Address:
        """Where the peer is now; it changes when the peer migrates."""
        return self._quic.get_peer_address() or self._address

    @property
    def is_connected(self) -> bool:
        """Whether the peer has been verified and the connection lives."""
        return self._connected and not self.is_closed

    @property
    def is_early(self) -> bool:
        """Whether what a client sends now goes out as early data (0-RTT), before the peer has proved itself again."""
        return self._quic.is_early and not self.is_closed

    @property
    def is_confirmed(self) -> bool:
        """Whether the peer has verified us too."""
        return self._confirmed

    @property
    def most_waiting(self) -> int:
        """Bytes of received datagrams that may wait for their turn."""
        return WAITING if self._confirmed else WAITING_EARLY

    @property
    def is_closed(self) -> bool:
        """Whether either side has closed the connection, or silence has."""
        return self.failure is not None

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._open)

    @property
    def idle_since(self) -> float:
        """When the last stream ended, in the loop's time."""
        return self._open.idle_since

    @property
    def streams_left(self) -> int:
        """How many more streams the peer allows us to open."""
        return self._quic.streams_left

    @property
    def keepalive(self) -> float:
        """Seconds between two PINGs: a third of the idle timeout leaves room for two that are lost."""
        return min(self._keepalive, self._quic.idle_timeout / 3)

    async def wait_connected(self) -> None:
        """Wait until the peer is verified; raises the typed failure if the connection ends first. Safe to cancel."""
        await self._until(lambda: self._connected)

    def when_connected(self, told: Callable[[], None]) -> None:
        """Call ``told`` once the peer is verified; never, if the connection ends first."""
        self._on_connected.append(told)

    async def wait_confirmed(self) -> None:
        """Wait until both sides have verified each other; raises as :meth:`wait_connected`. Safe to cancel."""
        await self._until(lambda: self._confirmed)

    async def wait_closed(self) -> TndrlError:
        """Wait until the connection is over and return why. Safe to cancel."""
        while self.failure is None:
            await self._changes.next()
        return self.failure

    async def ping(self) -> None:
        """Send a PING frame and wait for its acknowledgement; raises the typed failure. Safe to cancel."""
        self._pings_sent += 1
        uid = self._pings_sent
        self._pings_pending.add(uid)
        self._quic.send_ping(uid)
        self.flush()
        try:
            await self._until(lambda: uid not in self._pings_pending)
        finally:
            self._pings_pending.discard(uid)

    def send_ping(self) -> None:
        """Send a PING whose answer nobody waits for."""
        self._quic.send_ping(0)
        self.flush_soon()

    def open_stream(self) -> QuicStream:
        """Open a bidirectional stream.

        Raises the typed failure if the connection is over, StreamRefusedError where the peer allows no more.
        """
        if self.failure is not None:
            raise self.failure
        if self._quic.streams_left <= 0:
            raise StreamRefusedError(f"{self.label} allows no more streams on this connection")
        stream_id = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream_id, b"")  # takes the number, which aioquic would give again
        return self._open.add(self, stream_id)

    def close(
        self, code: int = ErrorCode.NO_ERROR, reason: str = "", failure: TndrlError | None = None
    ) -> None:
        """Close the connection with one of our codes; the peer sees code and reason. Does nothing twice.

        Its streams raise ``failure`` if there is one, or else that this side has closed it.
        """
        self._quic.close(error_code=code, reason_phrase=reason)
        if failure is not None:
            self._end(failure)
        self.flush()

    def refuse(self, reason: str) -> None:
        """Close a connection that is not wanted (CONNECTION_REFUSED)."""
        self._quic.close(error_code=TransportCode.CONNECTION_REFUSED, frame_type=0, reason_phrase=reason)
        self.flush()

    def receive_datagram(self, data: bytes, address: Address) -> None:
        """Take one datagram; :meth:`flush` acts on it. Never raises."""
        self.heard_at = self._loop.time()
        self._quic.receive_datagram(data, address, now=self.heard_at)

    def flush(self) -> None:
        """Act on what happened, send what is due and set the timer."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._released:
            return
        self._is_flushing = True
        try:
            self._flush()
        finally:
            self._is_flushing = False

    def _flush(self) -> None:
        self._handle_events()
        if self._quic.has_path:
            if datagrams := self._quic.datagrams_to_send(now=self._loop.time()):
                self._endpoint.send_all(datagrams)  # may find the port closed, which ends this session
            self._handle_events()  # sending issues connection IDs and begins the closing period
        if not self._notice_close():
            if not self._confirmed:
                self.liveness.note_step(self._quic.handshake_step)
            self._note_reset_token()
            self._open.let_senders_go_on()
        self._set_timer()

    def react(self) -> None:
        """Act on what was received, and flush when those that it woke have had their turn: they may answer."""
        self._is_flushing = True
        try:
            self._handle_events()
            self._open.let_senders_go_on()
        finally:
            self._is_flushing = False
        self.flush_soon()

    def flush_soon(self) -> None:
        """Flush once, when the running callbacks are done."""
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self.flush)

    def flush_early(self) -> None:
        """Flush at once, unless that was just done: then what comes together leaves together."""
        now = self._loop.time()
        if self._is_flushing or now - self._flushed_early_at < COMPANY:
            self.flush_soon()
            return
        self._flushed_early_at = now
        self.flush()

    def migrate(self, *, new_host: bool) -> None:
        """Go on from another port or host of ours (RFC 9000 section 9); in a handshake as if nothing had happened."""
        if self._confirmed and not self.is_closed:
            self._quic.migrate(self._loop.time(), new_host=new_host)
            self._quic.search_anew()
        self.flush()

    def abandon(self, failure: TndrlError) -> None:
        """End the connection here without a word to the peer: it is gone, or its socket is."""
        self._end(failure)
        self._release()

    # private

    async def _until(self, condition: Callable[[], bool]) -> None:
        while self.failure is None and not condition():
            await self._changes.next()
        if self.failure is not None:
            raise self.failure

    def _handle_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if not self._open.handle(event):
                self._handle_event(event)
        self._open.tell_readers()

    def _handle_event(self, event: QuicEvent) -> None:
        if isinstance(event, PingAcknowledged):
            self._pings_pending.discard(event.uid)
            self._changes.tell()
        elif isinstance(event, StreamOpened):
            self._handle_opened(event.stream_id)
        elif isinstance(event, ConnectionIdIssued):
            self._endpoint.register(event.connection_id, self)
        elif isinstance(event, ConnectionIdRetired):
            self._endpoint.unregister(event.connection_id)
        elif isinstance(event, HandshakeCompleted):
            self._handle_connected()
        elif isinstance(event, HandshakeConfirmed):
            self._handle_confirmed()

    def _handle_opened(self, stream_id: int) -> None:
        assert self._on_stream is not None  # a client allows its peer no streams
        is_early = not self._connected and self._quic.takes_early_data
        if is_early:
            self.peer_id = self._quic.peer_id
        if self._connected or is_early:
            self._on_stream(self._open.add(self, stream_id))

    def _handle_connected(self) -> None:
        # Fail closed: whatever aioquic believes, without a verified identity there is no connection.
        self.peer_id = self._quic.peer_id
        if self.peer_id is None:
            self._quic.close(
                error_code=TransportCode.INTERNAL_ERROR, frame_type=0, reason_phrase="peer was not verified"
            )
            return
        self._connected = True
        told, self._on_connected = self._on_connected, []
        for tell in told:
            self._loop.call_soon(tell)
        self.liveness.keep_alive()
        self._announce()

    def _handle_confirmed(self) -> None:
        self._confirmed = True
        self._announce()

    def _announce(self) -> None:
        self._changes.tell()
        if self._connected and self._confirmed and self._on_confirmed is not None:
            callback, self._on_confirmed = self._on_confirmed, None
            callback(self)

    def _notice_close(self) -> bool:
        if self.failure is None and (close := self._quic.close_info) is not None:
            self._end(
                explain_close(
                    self.label,
                    close,
                    refusal=self._quic.refusal,
                    established=self._connected,
                    silent=self._quic.is_idle_timeout,
                    timeout=self._quic.idle_timeout,
                )
            )
        if self._quic.is_terminated:
            self._release()
        return self.failure is not None

    def _end(self, failure: TndrlError) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        self._changes.tell()
        self.liveness.stop()
        self._open.end(failure)
        if self._on_closed is not None:
            self._on_closed(self)

    def _release(self) -> None:
        self._released = True
        self.liveness.stop()
        for handle in (self._timer, self._flush_handle):
            if handle is not None:
                handle.cancel()
        self._timer = self._flush_handle = None
        self._quic.end_trace()
        self._endpoint.discard(self)

    def _set_timer(self) -> None:
        due = None if self._released or not self._quic.has_path else self._quic.get_timer()
        self._due = due
        # A timer that fires too early is set anew then, which is cheaper than to move it with every packet.
        if self._timer is not None and (due is None or due < self._timer.when()):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = self._loop.call_at(due, self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        now, due = self._loop.time(), self._due
        if due is None or due <= now + TIMER_SLACK:
            self._quic.handle_timer(now=now if due is None else max(due, now))
            if self._quic.is_unanswered:
                self._endpoint.unanswered(self)
            self.flush()
        else:
            self._timer = self._loop.call_at(due, self._handle_timer)

    def _note_reset_token(self) -> None:
        token = self._quic.peer_reset_token
        if token is not None and token != self._reset_token:
            self._reset_token = token
            self._endpoint.expect_reset(token, self)
