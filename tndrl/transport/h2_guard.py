"""What a client may do with the HTTP/2 connection inside a stream, judged by its frames' headers (RFC 9113).

The gRPC server behind it has patience of its own: it waits a minute for a silent client, and works through floods of
frames that carry no call. Payloads are skipped, so a guard costs per frame, not per byte.
"""

from __future__ import annotations

from tndrl.config import LimitsConfig
from tndrl.transport.codes import ErrorCode
from tndrl.transport.http2 import PREFACE
from tndrl.transport.rate import TokenBucket

LARGEST_HEADER_BLOCK = 128 * 1024
"""Bytes of HEADERS and its CONTINUATIONs. What is over the limit of metadata and below this gets a status."""

LARGEST_OTHER_FRAME = 16384
"""Bytes of a frame that is neither DATA nor a header block: what every peer must take (RFC 9113 section 4.2)."""

_HEADER = 9
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS = range(5)
_PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(6, 10)
_OF_CALLS = (_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _CONTINUATION)
_OF_CONNECTION = (_SETTINGS, _PING, _GOAWAY)
_NO_STREAM = bytes(4)
_ACK = _END_STREAM = 0x01
_END_HEADERS = 0x04
_LENGTHS = {_PRIORITY: 5, _RST_STREAM: 4, _PING: 8, _WINDOW_UPDATE: 4}

_FIRST_CALL, _ACKNOWLEDGEMENT, _REST = (
    "a first call",
    "the acknowledgement of SETTINGS",
    "the rest of HEADERS",
)


class ViolationError(Exception):
    """A client did what ends its stream: ``code`` says so to it, ``reason`` to us."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def check_preface(seen: bytes) -> None:
    """Raise ViolationError unless ``seen`` is a beginning of what a client sends first (RFC 9113 section 3.4)."""
    if not PREFACE.startswith(seen):
        raise ViolationError(ErrorCode.PREFACE_INVALID, "no HTTP/2 connection preface")


class FrameGuard:
    """Watches what follows a client's preface. ``due`` is when something must have come; None if nothing must.

    ``now`` is in seconds of a clock that never goes back, ``timeout`` what a client has for each step, and ``resets``
    is for the calls that the peer resets on all its streams.
    """

    def __init__(self, limits: LimitsConfig, timeout: float, now: float, resets: TokenBucket) -> None:
        self.due: float | None = now + timeout
        self.timeout = timeout
        self._awaited = {_FIRST_CALL, _ACKNOWLEDGEMENT}
        self._has_begun = False
        self._skip = 0  # bytes of a payload still to come
        self._part = b""  # the beginning of a frame's header
        self._block: bytes | None = None  # the stream whose header block is not complete
        self._block_size = 0
        # All calls that run may be given up at once; more of them would hold up the service's other callers.
        burst = min(limits.calls_per_stream, limits.resets_per_second)
        self._resets = TokenBucket(limits.resets_per_second, now, burst=burst)
        self._resets_of_peer = resets
        self._others = TokenBucket(limits.control_frames_per_second, now)

    @property
    def awaited(self) -> str:
        """What must have come when it is due."""
        return " and ".join(sorted(self._awaited))

    def feed(self, data: bytes, now: float) -> None:
        """Look at received bytes; raises ViolationError."""
        at = self._skip
        if self._part:
            data, self._part = self._part + data, b""
        while len(data) - at >= _HEADER:
            length = int.from_bytes(data[at : at + 3], "big")
            if data[at + 3] != _DATA or not length or self._block is not None or not self._has_begun:
                self._check(length, data[at + 3], data[at + 4], data[at + 5 : at + _HEADER], now)
            at += _HEADER + length
        self._skip = max(0, at - len(data))
        self._part = data[at:]

    def _check(self, length: int, kind: int, flags: int, stream: bytes, now: float) -> None:
        if not self._has_begun and (kind != _SETTINGS or flags & _ACK):
            raise ViolationError(ErrorCode.FRAME_INVALID, "the first frame is not SETTINGS")
        self._has_begun = True
        if (kind in _OF_CALLS and not stream[3] & 1) or (kind in _OF_CONNECTION and stream != _NO_STREAM):
            raise ViolationError(
                ErrorCode.FRAME_INVALID, f"a frame of type {kind:#04x} on a stream it cannot have"
            )
        if (kind == _CONTINUATION) != (self._block is not None) or self._block not in (None, stream):
            raise ViolationError(ErrorCode.FRAME_INVALID, "a header block is not continued, or none is open")
        if kind in (_HEADERS, _CONTINUATION):
            self._note_block(length, flags, stream, now)
        elif length != _LENGTHS.get(kind, length) or (kind != _DATA and length > LARGEST_OTHER_FRAME):
            raise ViolationError(ErrorCode.FRAME_INVALID, f"{length} bytes in a frame of type {kind:#04x}")
        elif kind == _SETTINGS and flags & _ACK:
            self._note(_ACKNOWLEDGEMENT)
        self._count(kind, flags, now)

    def _note_block(self, length: int, flags: int, stream: bytes, now: float) -> None:
        self._block_size += length
        if self._block_size > LARGEST_HEADER_BLOCK:
            raise ViolationError(
                ErrorCode.EXCESSIVE_LOAD, f"more than {LARGEST_HEADER_BLOCK} bytes of headers"
            )
        if flags & _END_HEADERS:
            self._block, self._block_size = None, 0
            self._awaited.discard(_FIRST_CALL)
            self._note(_REST)
        elif self._block is None:
            self._block = stream
            self._awaited.add(_REST)
            if self.due is None:
                self.due = now + self.timeout

    def _note(self, came: str) -> None:
        self._awaited.discard(came)
        if not self._awaited:
            self.due = None

    def _count(self, kind: int, flags: int, now: float) -> None:
        if kind == _RST_STREAM:
            if self._resets.take(now) or self._resets_of_peer.take(now):
                raise ViolationError(ErrorCode.EXCESSIVE_LOAD, "too many calls reset")
        elif kind != _HEADERS and not (kind == _DATA and flags & _END_STREAM) and self._others.take(now):
            raise ViolationError(ErrorCode.EXCESSIVE_LOAD, "too many frames that carry no call")
