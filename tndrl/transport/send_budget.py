"""How much one connection keeps of what it has sent, until the peer acknowledges it."""

from __future__ import annotations

from tndrl.transport.stream import CHUNK

STREAM_MOST = 1024 * 1024
"""Bytes of one stream that may wait for the peer's acknowledgement before its sender waits too."""

STREAM_SHARE = 16 * 1024
"""The same of each stream once the whole connection has used up what it may: none is starved by the others."""


class SendBudget:
    """Bounds what all streams of a connection keep for a peer that acknowledges nothing.

    It counts what is added and is told now and then what is left, since acknowledgements do not pass through here:
    so it never counts too little.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def __repr__(self) -> str:
        return f"<SendBudget {self._held} of {self._most} bytes>"

    @property
    def is_spent(self) -> bool:
        """Whether the connection keeps more than it may."""
        return self._held > self._most

    @property
    def stream_most(self) -> int:
        """Bytes that one stream may keep before its sender waits."""
        return STREAM_SHARE if self.is_spent else STREAM_MOST

    @property
    def bite(self) -> int:
        """Bytes that a sender should take up at once."""
        return STREAM_SHARE if self.is_spent else CHUNK

    def add(self, count: int) -> None:
        """Take note of ``count`` more bytes."""
        self._held += count

    def recount(self, held: int) -> None:
        """Take note of what is kept now."""
        self._held = held
