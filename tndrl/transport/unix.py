"""Byte streams over unix sockets: the local half of every bridged stream."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

from tndrl.errors import StreamClosedError, StreamResetError, UsageError
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.stream import CHUNK, ByteStream, sent_after_end

MAX_PATH = 103
"""Bytes of a unix socket path that every supported system takes: 107 on Linux, 103 on macOS."""


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
    """A connected unix socket as a byte stream. It has no error codes: an abort is an abrupt close."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._eof_sent = False
        self._failure: StreamClosedError | None = None

    @classmethod
    async def connect(cls, path: str, *, bind: str | None = None) -> UnixStream:
        """Connect to the socket at ``path``, from a socket bound to ``bind`` if given; raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            if bind is not None:
                connection.bind(bind)
            await asyncio.get_running_loop().sock_connect(connection, path)
            return await cls.adopt(connection)
        except BaseException:
            connection.close()
            raise

    @classmethod
    async def adopt(cls, connection: socket.socket) -> UnixStream:
        """Take over a connected socket."""
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=CHUNK)
        return cls(reader, writer)

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return what the other end sent."""
        self._raise_if_failed()
        try:
            data = await self._reader.read(limit)
        except OSError:
            raise self._fail(remote=True) from None
        self._raise_if_failed()
        return data

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._raise_if_failed()
        if self._eof_sent:
            raise sent_after_end()
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            raise self._fail(remote=True) from None
        self._raise_if_failed()

    async def send_eof(self) -> None:
        """End what we send."""
        self._raise_if_failed()
        if not self._eof_sent:
            self._eof_sent = True
            try:
                self._writer.write_eof()
            except OSError:
                raise self._fail(remote=True) from None

    def abort(self, code: int) -> None:
        """Close at once; what is buffered is dropped."""
        if self._failure is None:
            self._failure = StreamResetError(code, code_name(code, application=True), remote=False)
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Close, after what is buffered has been written if the other end still takes it."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            self._fail(remote=True)

    def _fail(self, *, remote: bool) -> StreamClosedError:
        if self._failure is None:
            code = ErrorCode.CANCELLED
            self._failure = StreamResetError(code, code_name(code, application=True), remote=remote)
        return self._failure

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure
