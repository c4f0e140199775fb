"""Byte streams over unix sockets: the local half of every bridged stream."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tndrl.errors import StreamClosedError, StreamResetError, UsageError
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.stream import CHUNK, ByteStream, sent_after_end

MAX_PATH = 103
"""Bytes of a unix socket path that every supported system takes: 107 on Linux, 103 on macOS."""


RECEIVE_SIZE = 64 * 1024
"""Bytes asked of the system at a time: more would be allocated anew, by a system call, for each read."""


def checked_path(path: Path) -> str:
    """Return ``path`` as text if a unix socket can have it; raises UsageError if it is too long."""
    text = str(path)
    if len(os.fsencode(text)) > MAX_PATH:
        raise UsageError(
            f"socket path {text} is longer than {MAX_PATH} bytes; set TMPDIR to a shorter directory"
        )
    return text


def is_own_process(connection: socket.socket) -> bool:
    """Return whether the other end of an accepted unix connection is this very process.

    Linux tells the process (SO_PEERCRED), macOS the user only (LOCAL_PEERCRED).
    """
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        pid, _uid, _gid = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return bool(pid == os.getpid())
    local_peercred, sol_local = 1, 0
    credentials = connection.getsockopt(sol_local, local_peercred, 76)
    (_version, uid) = struct.unpack_from("Ii", credentials)
    return bool(uid == os.getuid())


class UnixStream(ByteStream):
    """A connected unix socket as a byte stream. It has no error codes: an abort is an abrupt close.

    It works on the socket itself: an asyncio transport whose write fails drops what it has yet to read, which here is
    the end of an answer whose server has closed its side.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._eof_sent = False
        self._failure: StreamClosedError | None = None  # of both directions
        self._send_failure: StreamClosedError | None = None

    @classmethod
    async def connect(cls, path: str, *, bind: str | None = None) -> UnixStream:
        """Connect to the socket at ``path``, from a socket bound to ``bind`` if given; raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            if bind is not None:
                connection.bind(bind)
            await asyncio.get_running_loop().sock_connect(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return what the other end sent."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                return self._socket.recv(min(limit, RECEIVE_SIZE))
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
            except OSError:
                self._failure = _reset(remote=True)

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        if self._eof_sent:
            raise sent_after_end()
        rest = memoryview(data)
        while rest:
            self._raise_if_unsendable()
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                self._send_failure = _reset(remote=True)
        self._raise_if_unsendable()

    async def send_eof(self) -> None:
        """End what we send."""
        self._raise_if_unsendable()
        if not self._eof_sent:
            self._eof_sent = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._send_failure = _reset(remote=True)
                raise self._send_failure from None

    def abort(self, code: int) -> None:
        """Close at once; what the other end has not read yet stays readable there."""
        if self._failure is None:
            self._failure = StreamResetError(code, code_name(code, application=True), remote=False)
        self._close()

    async def aclose(self) -> None:
        """Close."""
        if self._failure is None:
            self._failure = _reset(remote=False)
        self._close()

    def _close(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        if (fd := self._socket.fileno()) != -1:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            self._socket.close()

    async def _ready(self, watch: Callable[..., object], unwatch: Callable[[int], object]) -> None:
        """Wait until the socket can be read or written, or is closed."""
        fd, waiter = self._socket.fileno(), self._loop.create_future()
        self._waiting.add(waiter)
        watch(fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if self._socket.fileno() == fd:
                unwatch(fd)

    def _raise_if_unsendable(self) -> None:
        if (failure := self._failure or self._send_failure) is not None:
            raise failure


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _reset(*, remote: bool) -> StreamResetError:
    code = ErrorCode.CANCELLED
    return StreamResetError(code, code_name(code, application=True), remote=remote)
