"""QUIC frames as bytes, sound or not (RFC 9000 section 19)."""

from __future__ import annotations

from collections.abc import Sequence

from aioquic.buffer import encode_uint_var

PADDING, PING, ACK, RESET_STREAM, STOP_SENDING, CRYPTO, NEW_TOKEN = 0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x07
STREAM, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS, MAX_STREAMS_UNI = 0x08, 0x10, 0x11, 0x12, 0x13
DATA_BLOCKED, STREAM_DATA_BLOCKED, STREAMS_BLOCKED, NEW_CONNECTION_ID = 0x14, 0x15, 0x16, 0x18
RETIRE_CONNECTION_ID, PATH_CHALLENGE, PATH_RESPONSE = 0x19, 0x1A, 0x1B
CONNECTION_CLOSE, APPLICATION_CLOSE, HANDSHAKE_DONE, DATAGRAM = 0x1C, 0x1D, 0x1E, 0x30

LARGEST = (1 << 62) - 1
"""The largest number that a frame can hold (RFC 9000 section 16)."""


def frame(kind: int, *fields: int, data: bytes = b"") -> bytes:
    """Return a frame of a type, numbers and bytes."""
    return b"".join(encode_uint_var(number) for number in (kind, *fields)) + data


def stream(stream_id: int, offset: int, data: bytes, *, end: bool = False) -> bytes:
    """Return a STREAM frame with offset and length."""
    return frame(STREAM | 0x06 | int(end), stream_id, offset, len(data), data=data)


def crypto(offset: int, data: bytes) -> bytes:
    """Return a CRYPTO frame."""
    return frame(CRYPTO, offset, len(data), data=data)


def ack(ranges: Sequence[range], *, delay: int = 0) -> bytes:
    """Return an ACK frame of ranges of packet numbers, the highest first, with gaps between them."""
    first, *rest = ranges
    fields = [first.stop - 1, delay, len(rest), len(first) - 1]
    low = first.start
    for part in rest:
        fields += [low - part.stop - 1, len(part) - 1]
        low = part.start
    return frame(ACK, *fields)


def close(code: int, reason: bytes, *, length: int | None = None) -> bytes:
    """Return a CONNECTION_CLOSE frame whose reason need not be text, nor as long as it says."""
    return frame(CONNECTION_CLOSE, code, 0, len(reason) if length is None else length, data=reason)
