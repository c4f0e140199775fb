"""The little of HTTP/2 (RFC 9113) that a bridge needs: to end a connection with a reason that callers get to see.

grpcio shows a GOAWAY's debug text in the details of the calls that it ends, if three things hold, all of them tried:
the connection began with SETTINGS, the call's HEADERS had been sent, and the last stream ID covers the call. With a
lower one grpcio takes the call for unprocessed and tries again at once, for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

LARGEST_HELD_FRAME = 64 * 1024
"""Bytes of a frame that is held back until it is whole; a larger one is passed on as it comes."""

EARLY_STREAMS = 100
"""Calls at once that a client may begin on a new stream to a server that takes so many, or more."""

UNLIMITED = 0xFFFFFFFF
"""The number of calls at once that a server takes which does not say any (RFC 9113 section 6.5.2)."""

NO_PING_TIMEOUT = ("grpc.http2.ping_timeout_ms", 2**31 - 1)
"""grpcio measures its windows with PINGs and ends a connection that leaves one unanswered for a minute. Behind what
waits for a slow link they may take longer, and whether the peer lives is QUIC's to know."""

_HEADER = 9
_SETTINGS, _GOAWAY = 0x04, 0x07
_ACK = 0x01
_MAX_CONCURRENT_STREAMS = 0x03
_NO_ERROR = 0x00
_MAX_STREAM_ID = 0x7FFFFFFF


def frame(kind: int, body: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    """Return one frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


SETTINGS = frame(_SETTINGS, b"")
"""An empty SETTINGS frame, with which a server begins."""


def early_settings(calls: int) -> bytes:
    """Return what a client is sent before the server's own SETTINGS are there: it may begin so many calls until then.

    grpcio waits for some SETTINGS, a round trip long.
    """
    return frame(_SETTINGS, struct.pack(">HI", _MAX_CONCURRENT_STREAMS, calls))


EARLY_SETTINGS = early_settings(1)
"""Those for a server of which nothing is known: every server takes a call."""


def goaway(reason: str) -> bytes:
    """Return the GOAWAY frame that ends every call of a connection with ``reason`` in its details."""
    return frame(_GOAWAY, struct.pack(">II", _MAX_STREAM_ID, _NO_ERROR) + reason.encode("utf-8", "replace"))


class FrameGate:
    """Passes an HTTP/2 byte stream on in whole frames, so that a frame of our own may follow at any time."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._passing = 0  # bytes still to come of a frame too large to hold
        self.has_begun = False  # whether anything was passed on

    @property
    def is_between_frames(self) -> bool:
        """Whether everything passed on ends with a whole frame."""
        return self._passing == 0

    def feed(self, data: bytes) -> bytes:
        """Take received bytes and return those that may be passed on now."""
        if self._held:
            self._held += data
            data = bytes(self._held)
            self._held.clear()
        end = self._boundary(data)
        self.has_begun = self.has_begun or end > 0
        if end < len(data):
            self._held += data[end:]
            return data[:end]
        return data

    def _boundary(self, data: bytes) -> int:
        """Return how much of ``data`` may be passed on."""
        size = len(data)
        end = min(self._passing, size)
        self._passing -= end
        while self._passing == 0 and size - end >= _HEADER:
            length = _HEADER + int.from_bytes(data[end : end + 3], "big")
            if size - end >= length:
                end += length
            elif length > LARGEST_HELD_FRAME:
                self._passing = length - (size - end)
                return size
            else:
                break
        return end


class Head(NamedTuple):
    """What the header of a frame says, but for its length (RFC 9113 section 4.1)."""

    kind: int
    flags: int
    stream: int


class FrameHeads:
    """Passes on what a client sends and notes which frames that is."""

    def __init__(self, passing: int = 0) -> None:
        self._held = bytearray()  # of a frame header that is not whole
        self._passing = passing  # bytes still to come of what is being passed on
        self._heads: list[Head] = []

    def take(self) -> list[Head]:
        """Return the frames that have begun since the last time."""
        taken, self._heads = self._heads, []
        return taken

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent and return those bytes that the server shall see."""
        self._held += data
        data, at = bytes(self._held), 0
        self._held.clear()
        passed = bytearray()
        while at < len(data):
            if self._passing == 0:
                header = data[at : at + _HEADER]
                if len(header) < _HEADER:
                    self._held += header
                    break
                head = Head(*struct.unpack(">3xBBI", header))
                self._heads.append(head)
                if self._drops(head):
                    at += _HEADER
                    continue
                self._passing = _HEADER + int.from_bytes(header[:3], "big")
            part = data[at : at + self._passing]
            passed += part
            at += len(part)
            self._passing -= len(part)
        return bytes(passed)

    def _drops(self, head: Head) -> bool:
        """Return whether a frame without a body is not passed on."""
        return False


class Opening(FrameHeads):
    """Passes on what a client sends, but for its acknowledgement of :data:`EARLY_SETTINGS`, which no server sent.

    Acknowledgements come in the order of the SETTINGS (RFC 9113 section 6.5.3), so it is the first one. Frames are
    noted until the server has begun to answer: until then, somebody else may have to.
    """

    def __init__(self, answers: FrameGate) -> None:
        super().__init__(len(PREFACE))
        self._answers = answers
        self._acknowledged = False

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent and return those bytes that the server shall see."""
        if self._acknowledged and self._answers.has_begun and not self._held:
            self._heads.clear()
            return data
        return super().feed(data)

    def _drops(self, head: Head) -> bool:
        if self._acknowledged or head.kind != _SETTINGS or not head.flags & _ACK:
            return False
        self._acknowledged = True
        return True


class Answers(FrameGate):
    """Passes on what a server sends, in whole frames; its first SETTINGS say how many calls it takes at once.

    A client that was told a number before must be told another: where they say none, it is unlimited.
    """

    def __init__(self, learn: Callable[[int], None]) -> None:
        super().__init__()
        self._learn = learn

    def feed(self, data: bytes) -> bytes:
        """Take received bytes and return those that may be passed on now."""
        had_begun = self.has_begun
        passed = super().feed(data)
        return self._settled(passed) if self.has_begun and not had_begun else passed

    def _settled(self, data: bytes) -> bytes:
        end = _HEADER + int.from_bytes(data[:3], "big")
        if data[3] != _SETTINGS or data[4] & _ACK or len(data) < end:
            return data
        body = data[_HEADER:end]
        said = dict(struct.unpack_from(">HI", body, at) for at in range(0, len(body) - 5, 6))
        self._learn(said.get(_MAX_CONCURRENT_STREAMS, UNLIMITED))
        if _MAX_CONCURRENT_STREAMS in said:
            return data
        return frame(_SETTINGS, body + struct.pack(">HI", _MAX_CONCURRENT_STREAMS, UNLIMITED)) + data[end:]
