"""Streams are served by their class, in turn within a class.

aioquic writes each packet from the first streams of its queue that have something to send, and puts those it has
served at the end. Here they go to the end of their class.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from aioquic.quic.connection import QuicConnection
from aioquic.quic.stream import QuicStream

from tndrl.transport.priority import Priority


class ServiceOrder(list[QuicStream]):
    """Streams in the order in which they are served; what is added goes to the end of its class."""

    def __init__(self, streams: Iterable[QuicStream], rank: Callable[[QuicStream], int]) -> None:
        super().__init__(streams)
        self._rank = rank

    def append(self, stream: QuicStream) -> None:
        """Add a stream."""
        insort(self, stream, key=self._rank)

    def serve(self, stream: QuicStream) -> None:
        """Put a stream behind all others of its class."""
        self.remove(stream)
        self.append(stream)

    def extend(self, streams: Iterable[QuicStream]) -> None:
        """Add streams."""
        for stream in streams:
            self.append(stream)


class StreamPriorities(QuicConnection):
    """Sends what is urgent first. Strict: while a class has something to send, those behind it wait."""

    def __init__(self, **options: Any) -> None:
        self._ranks: WeakKeyDictionary[QuicStream, int] = WeakKeyDictionary()
        super().__init__(**options)

    def prioritize(self, stream_id: int, priority: Priority) -> None:
        """Put a stream into a class; does nothing for one that is over."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._ranks[stream] = priority
            self._order.sort(key=self._rank)

    def _rank(self, stream: QuicStream) -> int:
        return self._ranks.get(stream, Priority.MEDIUM)

    @property
    def _streams_queue(self) -> list[QuicStream]:
        return self._order

    @_streams_queue.setter
    def _streams_queue(self, streams: list[QuicStream]) -> None:
        self._order = ServiceOrder(streams, self._rank)
