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
    end, and otherwise the error of the side that failed first; the other side is the caller's to end. Safe to cancel;
    the streams stay the caller's to close.
    """
    pumps = [
        asyncio.ensure_future(_pump(near, far, outbound)),
        asyncio.ensure_future(_pump(far, near, inbound)),
    ]
    try:
        done, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if rest and all(isinstance(pump.exception(), _SinkClosedError | None) for pump in done):
            await asyncio.wait(rest, timeout=LINGER)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    failures = [pump.exception() for pump in pumps if not pump.cancelled()]
    for error in failures:
        if error is not None and not isinstance(error, TndrlError | _SinkClosedError):
            raise error
    return next((error for error in failures if isinstance(error, TndrlError)), None)


class _SinkClosedError(Exception):
    """One side takes no more; what it has sent is carried on all the same."""


async def _pump(source: ByteStream, sink: ByteStream, through: Filter) -> None:
    bite = sink.first_bite
    while data := await source.receive(min(bite, sink.bite)):
        bite = min(2 * bite, CHUNK) if len(data) >= bite else sink.first_bite
        if passed := through(data):
            try:
                await sink.send(passed)
            except StreamClosedError as error:
                raise _SinkClosedError from error
    await sink.send_eof()
