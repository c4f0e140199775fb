"""The streams of one session that are open: who is told what, and how much all of them keep for the peer."""

from __future__ import annotations

import asyncio

from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from tndrl.errors import TndrlError
from tndrl.transport._aioquic.connection import AuthenticatedConnection
from tndrl.transport.quic_stream import Connection, QuicStream
from tndrl.transport.send_budget import SendBudget


class OpenStreams:
    """Gives each stream what came for it, in the order of its coming, and tells its sender when there is room."""

    def __init__(self, quic: AuthenticatedConnection) -> None:
        self._quic = quic
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, QuicStream] = {}
        self._readable: dict[QuicStream, None] = {}  # those for which something has come, in its order
        self._blocked: set[QuicStream] = set()  # those whose sender waits for acknowledgements
        self.budget = SendBudget(quic.send_buffer)
        self.idle_since = self._loop.time()  # when the last one ended

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, session: Connection, stream_id: int) -> QuicStream:
        """Return a new stream."""
        stream = self._streams[stream_id] = QuicStream(session, self, self._quic, stream_id)
        return stream

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is over on this side."""
        self._streams.pop(stream_id, None)
        self.idle_since = self._loop.time()
        self._quic.forget(stream_id, self.idle_since)

    def end(self, failure: TndrlError) -> None:
        """Tell all of them that their connection is over."""
        for stream in tuple(self._streams.values()):
            stream.on_connection_lost(failure)
        self._streams.clear()

    def handle(self, event: QuicEvent) -> bool:
        """Act on what happened to a stream; returns False if it happened to none."""
        if isinstance(event, StreamDataReceived):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.on_data(event.data, end=event.end_stream)
            else:
                self._quic.forget(event.stream_id, self._loop.time())  # late bytes of one that we gave up
        elif isinstance(event, StreamReset):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.on_reset(event.error_code)
            else:
                self._quic.forget(event.stream_id, self._loop.time())
        elif isinstance(event, StopSendingReceived):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.on_stop_sending(event.error_code)
        else:
            return False
        return True

    def tell_soon(self, stream: QuicStream) -> None:
        """Tell a stream's reader that something has come, once all that came is there."""
        self._readable[stream] = None

    def tell_readers(self) -> None:
        """Tell those for which something has come."""
        if self._readable:
            readable, self._readable = self._readable, {}
            for stream in readable:
                stream.tell_readable()

    def watch_sender(self, stream: QuicStream, *, blocked: bool) -> None:
        """Note whether a stream's sender waits for acknowledgements."""
        (self._blocked.add if blocked else self._blocked.discard)(stream)

    def let_senders_go_on(self) -> None:
        """Tell those who wait where there is room again."""
        if self.budget.is_spent:
            self.budget.recount(self._quic.unsent_total)
        for stream in tuple(self._blocked):
            stream.on_flushed()
