"""The little of HTTP/2 (RFC 9113) that a bridge needs: to end a connection with a reason, between two frames."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

_HEADER = 9
_GOAWAY = 0x07
_SETTINGS = 0x04
_INTERNAL_ERROR = 0x02
_MAX_STREAM_ID = 0x7FFFFFFF

LARGEST_HELD_FRAME = 64 * 1024
"""Bytes of a frame that is held back until it is whole; a larger one is passed on as it comes."""

SETTINGS = struct.pack(">I", 0)[1:] + bytes([_SETTINGS, 0]) + bytes(4)
"""An empty SETTINGS frame, with which a server begins."""


def goaway(reason: str, *, processed: bool) -> bytes:
    """Return a GOAWAY frame that makes grpcio fail calls with ``reason`` in their details.

    ``processed`` says whether calls may have reached the peer: only where none did may a client retry by itself
    (RFC 9113 section 6.8).
    """
    text = reason.encode("utf-8", "replace")
    body = struct.pack(">II", _MAX_STREAM_ID if processed else 0, _INTERNAL_ERROR) + text
    return struct.pack(">I", len(body))[1:] + bytes([_GOAWAY, 0]) + bytes(4) + body


class FrameGate:
    """Passes an HTTP/2 byte stream on in whole frames, so that a frame of our own may follow at any time."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._passing = 0  # bytes still to come of a frame too large to hold

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
        end = min(self._passing, len(data))
        self._passing -= end
        size = len(data)
        while self._passing == 0 and size - end >= _HEADER:
            length = _HEADER + int.from_bytes(data[end : end + 3], "big")
            if size - end >= length:
                end += length
            elif length > LARGEST_HELD_FRAME:
                self._passing = length - (size - end)
                end = size
            else:
                break
        if end < size:
            self._held += data[end:]
            return data[:end]
        return data
