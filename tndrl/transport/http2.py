"""The little of HTTP/2 (RFC 9113) that a bridge needs: to end a connection with a reason that callers get to see.

grpcio shows a GOAWAY's debug text in the details of the calls that it ends, if three things hold, all of them tried:
the connection began with SETTINGS, the call's HEADERS had been sent, and the last stream ID covers the call. With a
lower one grpcio takes the call for unprocessed and tries again at once, for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tndrl.transport.stream import ByteStream

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
_HEADERS, _SETTINGS, _GOAWAY = 0x01, 0x04, 0x07
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


class Opening:
    """Passes on what a client sends, but for its acknowledgement of :data:`EARLY_SETTINGS`, which no server sent.

    Acknowledgements come in the order of the SETTINGS (RFC 9113 section 6.5.3), so it is the first one.
    """

    def __init__(self) -> None:
        self._held = bytearray()  # of a frame header that is not whole
        self._passing = len(PREFACE)  # bytes still to come of what is being passed on
        self._acknowledged = False
        self.has_call = False  # whether the first HEADERS were passed on

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent and return those bytes that the server shall see."""
        if self._acknowledged and self.has_call and not self._held:
            return data
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
                if self._drops(header):
                    at += _HEADER
                    continue
                self._passing = _HEADER + int.from_bytes(header[:3], "big")
            part = data[at : at + self._passing]
            passed += part
            at += len(part)
            self._passing -= len(part)
        return bytes(passed)

    def _drops(self, header: bytes) -> bool:
        self.has_call = self.has_call or header[3] == _HEADERS
        if self._acknowledged or header[3] != _SETTINGS or not header[4] & _ACK:
            return False
        self._acknowledged = True
        return True


async def refuse(client: ByteStream, reason: str, *, opening: Opening | None = None) -> None:
    """Play the server of an HTTP/2 connection just long enough to fail the client's first call with ``reason``.

    ``opening`` has seen what the client has sent already, after it got SETTINGS. Ends what we send; returns early if
    the client ends first. Waits for the client as long as it takes: bound it.
    """
    if opening is None:
        opening = Opening()
        await client.send(SETTINGS)
    while not opening.has_call:
        if not (data := await client.receive()):
            return
        opening.feed(data)
    await client.send(goaway(reason))
    await client.send_eof()


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
