"""Splices two byte streams: what one receives, the other sends, until both have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tndrl.errors import StreamClosedError, TndrlError
from tndrl.transport.stream import CHUNK, ByteStream

LINGER = 30.0
"""Seconds that one direction may go on after the other has ended."""


Filter = Callable[[bytes], bytes]
"""Sees bytes that pass and returns those to pass on."""


def unchanged(data: bytes) -> bytes:
    """Return ``data``."""
    return data


async def splice(
    near: ByteStream, far: ByteStream, *, outbound: Filter = unchanged, inbound: Filter = unchanged
) -> TndrlError | None:
    """Carry bytes both ways between ``near`` and ``far`` until both directions have ended.

    ``outbound`` filters what goes from ``near`` to ``far``, ``inbound`` what comes back. Returns None after an orderly
    end, and otherwise the error of the side that failed first; the other side is the caller's to end. Raises what a
    filter raises. Safe to cancel; the streams stay the caller's to close.
    """
    pumps = [_Pump(near, far, outbound), _Pump(far, near, inbound)]
    ends = [pump.end for pump in pumps]
    try:
        for pump in pumps:
            pump.start()
        done, rest = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if rest and all(isinstance(end.exception(), _SinkClosedError | None) for end in done):
            await asyncio.wait(rest, timeout=LINGER)
    finally:
        for pump in pumps:
            pump.stop()
    failures = [end.exception() for end in ends if not end.cancelled()]
    for error in failures:
        if error is not None and not isinstance(error, TndrlError | _SinkClosedError):
            raise error
    return next((error for error in failures if isinstance(error, TndrlError)), None)


class _SinkClosedError(Exception):
    """One side takes no more; what it has sent is carried on all the same."""


class _Pump:
    """One direction. It works in the callbacks of its streams: a task that is woken for each message costs a call more.

    ``end`` is done when the direction has ended, or holds what ended it.
    """

    def __init__(self, source: ByteStream, sink: ByteStream, through: Filter) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._source = source
        self._sink = sink
        self._through = through
        self._bite = sink.first_bite
        self._waits = False  # for the sink to take more

    def start(self) -> None:
        """Carry what there is, and what comes from now on."""
        self._source.when_readable(self._go)
        self._go()

    def stop(self) -> None:
        """Carry nothing more."""
        self._source.when_readable(None)
        self._sink.when_writable(None)
        if not self.end.cancel():
            self.end.exception()  # nobody may be there any more to ask for it

    def _go(self) -> None:
        if self.end.done():
            return
        try:
            self._carry()
        except Exception as error:  # whatever it is, it is raised by the splice
            self.end.set_exception(error)

    def _carry(self) -> None:
        source, sink = self._source, self._sink
        if self._waits:
            self._waits = False
            sink.when_writable(None)
            try:
                sink.raise_if_unsendable()
            except StreamClosedError as error:
                raise _SinkClosedError from error
        while not sink.is_full and (data := source.take(min(self._bite, sink.bite))) is not None:
            is_all = len(data) < self._bite
            self._bite = sink.first_bite if is_all else min(2 * self._bite, CHUNK)
            if not data:
                sink.put_eof()
                self.end.set_result(None)
                break
            if passed := self._through(data):
                try:
                    sink.put(passed, at_once=is_all)
                except StreamClosedError as error:
                    raise _SinkClosedError from error
        if sink.is_full and not self.end.done():
            self._waits = True
            sink.when_writable(self._go)
