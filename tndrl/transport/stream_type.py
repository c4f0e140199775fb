"""The first byte of a stream, which says what the stream carries."""

from __future__ import annotations

from enum import IntEnum

from tndrl.errors import UsageError


class StreamType(IntEnum):
    """The stream types this project defines. Services of users take any number of :data:`USER_TYPES`."""

    CONTROL = 0x01
    """``tndrl.v1.ControlService``, gRPC health and reflection."""
    A2A = 0x02
    """The agent services of the A2A protocol."""


RESERVED_TYPES = range(0x03, 0x10)
"""Kept for this project."""

USER_TYPES = range(0x10, 0xF0)
"""Free for services of users."""


def validate_user_type(stream_type: int) -> int:
    """Return ``stream_type`` if a user's service may take it; raises UsageError if not."""
    if stream_type not in USER_TYPES:
        raise UsageError(
            f"stream type {stream_type:#04x} is not free for services; "
            f"take one from {USER_TYPES.start:#04x} to {USER_TYPES.stop - 1:#04x}"
        )
    return stream_type


def type_name(stream_type: int) -> str:
    """Return a stream type in words, for logs: ``CONTROL``, ``A2A`` or ``0x10``."""
    try:
        return StreamType(stream_type).name
    except ValueError:
        return f"{stream_type:#04x}"
