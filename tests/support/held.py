"""A handler that runs until it is cancelled, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from support.workshop import Tally


class Held:
    """The method ``Hold``: it answers nothing. It runs on a loop of its own."""

    def __init__(self) -> None:
        self.begun, self.cancelled = Tally(), Tally()
        self.now = self.most = 0
        self.handlers = {"Hold": grpc.stream_stream_rpc_method_handler(self.hold)}

    async def hold(self, _requests: object, _context: object) -> AsyncIterator[bytes]:
        """Run."""
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.add()
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            self.now -= 1
            self.cancelled.add()
