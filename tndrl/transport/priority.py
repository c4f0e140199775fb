"""What a stream's bytes yield to: the order in which a connection sends, when it cannot send everything at once."""

from __future__ import annotations

from enum import IntEnum

from tndrl.transport.stream_type import StreamType


class Priority(IntEnum):
    """A class of streams. A lower number goes first; streams of one class take turns."""

    CRITICAL = 0
    """What must get through while everything else waits. Control is in this class."""
    HIGH = 64
    MEDIUM = 128
    LOW = 192


def priority_of(stream_type: int) -> Priority:
    """Return the class of streams of which nobody says otherwise."""
    return Priority.CRITICAL if stream_type == StreamType.CONTROL else Priority.MEDIUM
