"""Frames that cost more to handle than to send: so many for the bytes they come in, and so many a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from aioquic.buffer import Buffer
from aioquic.quic.connection import NetworkAddress, QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.tls import Epoch

from tndrl.transport._aioquic.reassembly import crypto_buffer_exceeded

BYTES_PER_FRAME = 24
"""A datagram pays for its frames with its bytes. The smallest that there is pays for one."""

PER_SECOND = 5_000
"""Frames that are free in each second, and at once: limits raised, streams ended, PINGs."""

HANDSHAKE_FRAMES = 512
"""Frames of a whole handshake: the largest certificate fills some 60 packets, and each may be sent again."""

STEP = 256
"""Frames after which is looked whether they were too many."""


class FrameAllowance:
    """How many frames a peer may send: a bucket that time and bytes fill and frames empty."""

    def __init__(self) -> None:
        self._left = float(PER_SECOND)
        self._at: float | None = None
        self._bytes = 0
        self._frames = 0

    def covers(self, frames: int, received: int, now: float) -> bool:
        """Return whether a peer may have sent so many frames in so many bytes, both counted from the beginning."""
        elapsed = now - (now if self._at is None else self._at)
        earned = elapsed * PER_SECOND + (received - self._bytes) / BYTES_PER_FRAME
        self._left = min(self._left + earned, PER_SECOND) - (frames - self._frames)
        self._at, self._bytes, self._frames = now, received, frames
        return self._left >= 0


Epochs = frozenset[Epoch]

FrameHandler = tuple[Callable[[QuicReceiveContext, int, Buffer], None], Epochs]
"""What aioquic calls for a frame of one type, and the epochs in which that type may come."""


class FloodGuard(QuicConnection):
    """Closes the connection of a peer whose frames are out of all proportion (RFC 9000 section 21.9)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._received_bytes = 0
        self._received_at = 0.0
        self._frames = 0
        self._look_at = HANDSHAKE_FRAMES
        self._allowance = FrameAllowance()
        handlers: Any = self._QuicConnection__frame_handlers  # type: ignore[has-type]
        self._QuicConnection__frame_handlers = CountedHandlers(self, handlers)

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Handle one datagram, whose bytes pay for its frames."""
        self._received_bytes += len(data)
        self._received_at = now
        super().receive_datagram(data, addr, now)

    def count_frame(self, frame_type: int) -> None:
        """Count a frame that is about to be handled; raises if that is one too many."""
        self._frames += 1
        if self._frames > self._look_at:
            self._look(frame_type)

    def _look(self, frame_type: int) -> None:
        if not self._handshake_complete:
            raise crypto_buffer_exceeded(f"more than {HANDSHAKE_FRAMES} frames in a handshake")
        self._look_at = self._frames + STEP
        if not self._allowance.covers(self._frames, self._received_bytes, self._received_at):
            raise QuicConnectionError(
                error_code=QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type=frame_type,
                reason_phrase="far more frames than the bytes and the time they came in are worth",
            )


class CountedHandlers:
    """Stands in for aioquic's table of handlers, in which it looks once for each frame.

    The table is the same for all connections, but for the methods that are bound to each: these are looked up when
    they are called. To hold them all would be a hundred objects more for each connection.
    """

    __slots__ = ("_guard",)
    _known: ClassVar[dict[int, tuple[str, Epochs]]] = {}

    def __init__(self, guard: FloodGuard, handlers: dict[int, FrameHandler]) -> None:
        self._guard = guard
        if not self._known:
            self._known.update(
                {kind: (handler.__name__, epochs) for kind, (handler, epochs) in handlers.items()}
            )

    def __getitem__(self, frame_type: int) -> FrameHandler:
        """Return the handler of a frame that has come; raises KeyError if there is none."""
        # Small packets need padding, and each run of it counts as one frame.
        if frame_type != QuicFrameType.PADDING:
            self._guard.count_frame(frame_type)
        name, epochs = self._known[frame_type]
        return getattr(self._guard, name), epochs
