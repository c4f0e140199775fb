"""The local half of a gRPC channel: a private unix socket, each connection to which becomes one QUIC stream."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from tndrl.errors import RefusedError, StreamClosedError, StreamRefusedError, TndrlError
from tndrl.transport import http2
from tndrl.transport.bridge import splice
from tndrl.transport.codes import ErrorCode
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.stream import ByteStream
from tndrl.transport.turn_away import turn_away
from tndrl.transport.unix import UnixStream, checked_path, is_own_process

logger = logging.getLogger("tndrl.transport")

OpenStream = Callable[[], Awaitable[ByteStream]]
"""Opens the QUIC stream behind one local connection; raises TndrlError."""

ACCEPT_PAUSE = 0.1
"""Seconds before the next try, where the system refused a connection."""

REFUSAL_TIMEOUT = 5.0
"""Seconds a local gRPC client has for its first call, which is told why there is no connection."""


class ChannelSocket:
    """A listening unix socket for the channels of one peer and stream type.

    Whoever reaches it speaks with our identity, so it takes connections of this very process only.
    """

    def __init__(self, path: Path, open_stream: OpenStream, tasks: asyncio.TaskGroup) -> None:
        self.target = f"unix:{checked_path(path)}"
        self.refused = 0  # connections of other processes
        self._calls = 1  # that the server is known to take at once
        self._open_stream = open_stream
        self._tasks = tasks
        self._bridges: set[asyncio.Task[None]] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen()
        self._path = path
        self._accepting = tasks.create_task(self._accept(), name=f"accept {path.name}")

    async def aclose(self) -> None:
        """Stop listening, and end the streams behind the socket: their calls are over when their channel is closed."""
        self._accepting.cancel()
        await asyncio.wait({self._accepting})  # it still watches the listener until it has ended
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for bridge in self._bridges:
            bridge.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _name = await loop.sock_accept(self._listener)
            except OSError as error:
                # No descriptors left, for instance: a pause, not the end of all channels.
                logger.warning("a channel of %s cannot be opened: %s", self.target, error)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            if not is_own_process(connection):
                self.refused += 1
                logger.warning("another process tried to use a channel of this one; refused")
                connection.close()
                continue
            connection.setblocking(False)
            bridge = self._tasks.create_task(self._bridge(connection), name=f"bridge {self._path.name}")
            self._bridges.add(bridge)
            bridge.add_done_callback(self._bridges.discard)

    async def _bridge(self, connection: socket.socket) -> None:
        local = UnixStream(connection)
        try:
            await self._carry(local)
        except (StreamClosedError, TimeoutError):
            logger.debug("the local end of a channel went away")
        except asyncio.CancelledError:
            local.abort(ErrorCode.CANCELLED)
            raise
        except Exception:
            logger.exception("fault in a channel; its connection is closed")
        finally:
            await local.aclose()

    async def _carry(self, local: ByteStream) -> None:
        try:
            stream = await self._open_stream()
        except TndrlError as error:
            await local.send(http2.SETTINGS)
            await self._turn_away(local, error, http2.FrameHeads(len(http2.PREFACE)))
            return
        gate = http2.Answers(self._learn)
        opening = http2.Opening(gate)
        try:
            # Not before there is a connection: a channel is not ready without one.
            await local.send(http2.early_settings(self._calls))
            broken = await splice(local, stream, outbound=opening.feed, inbound=gate.feed)
        finally:
            await stream.aclose()
        if broken is None:
            return
        if not gate.has_begun:
            await self._turn_away(local, broken, opening)
        elif gate.is_between_frames:
            # It may be writing: to be closed on, it would tell of that and not read why.
            async with asyncio.timeout(REFUSAL_TIMEOUT):
                await local.send(http2.goaway(str(broken)))
                await local.send_eof()
                while await local.receive():
                    pass

    async def _turn_away(self, local: ByteStream, error: TndrlError, seen: http2.FrameHeads) -> None:
        """Tell the calls of a client that no server has answered why there is none."""
        retry_after = SOON if isinstance(error, (RefusedError, StreamRefusedError)) else None
        async with asyncio.timeout(REFUSAL_TIMEOUT):
            await turn_away(local, Refusal(grpc.StatusCode.UNAVAILABLE, str(error), retry_after), seen=seen)

    def _learn(self, calls: int) -> None:
        self._calls = min(calls, http2.EARLY_STREAMS)
