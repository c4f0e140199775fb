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


QUEUE_TIMEOUT = 1.0
"""Seconds a server has to take connections, where its queue is full."""

QUEUE_PAUSE = 0.01
"""Seconds between two looks at a full queue."""

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
        self._reader: asyncio.Future[bytes] | None = None  # whoever waits for something to read
        self._wanted = 0  # how much of it
        self._is_watched = False  # whether the loop tells when there is something
        self._drained = False  # the last read took all there was
        self._held = b""  # what was read for somebody who was cancelled
        self._writers: set[asyncio.Future[None]] = set()
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
            await _connect(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    async def receive(self, limit: int = CHUNK) -> bytes:
        """Return what the other end sent."""
        if self._held:
            data, self._held = self._held[:limit], self._held[limit:]
            return data
        size = min(limit, RECEIVE_SIZE)
        if not self._drained:
            self._raise_if_failed()
            try:
                return self._read(size)
            except BlockingIOError:
                self._drained = True
        return await self._next(size)

    def _read(self, size: int) -> bytes:
        """Read once; raises BlockingIOError if nothing is there, and the failure of the stream."""
        try:
            data: bytes = self._socket.recv(size)
        except BlockingIOError:
            raise
        except OSError:
            self._failure = _reset(remote=True)
            raise self._failure from None
        self._drained = 0 < len(data) < size
        return data

    async def _next(self, size: int) -> bytes:
        """Wait for something to read. The socket stays watched: to watch it anew for each message costs more."""
        self._raise_if_failed()
        if not self._is_watched:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._is_watched = True
        self._wanted, waiter = size, self._loop.create_future()
        self._reader = waiter
        try:
            data: bytes = await waiter
            return data
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._held = waiter.result()
            raise
        finally:
            self._reader = None

    def _on_readable(self) -> None:
        waiter = self._reader
        if waiter is None or waiter.done():
            self._unwatch()  # nobody wants it now
            return
        try:
            waiter.set_result(self._read(self._wanted))
        except BlockingIOError:
            return
        except StreamClosedError as error:
            waiter.set_exception(error)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._socket.fileno())

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
                await self._writable()
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
        if self._reader is not None and not self._reader.done():
            assert self._failure is not None
            self._reader.set_exception(self._failure)
        for waiter in self._writers:
            _wake(waiter)
        if (fd := self._socket.fileno()) != -1:
            self._unwatch()
            self._loop.remove_writer(fd)
            self._socket.close()

    async def _writable(self) -> None:
        """Wait until the socket can be written, or is closed."""
        fd, waiter = self._socket.fileno(), self._loop.create_future()
        self._writers.add(waiter)
        self._loop.add_writer(fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._writers.discard(waiter)
            if self._socket.fileno() == fd:
                self._loop.remove_writer(fd)

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _raise_if_unsendable(self) -> None:
        if (failure := self._failure or self._send_failure) is not None:
            raise failure


async def _connect(connection: socket.socket, path: str) -> None:
    """Connect at once, or as soon as the server's queue has room: asyncio takes a full one for a connection made."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + QUEUE_TIMEOUT
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if loop.time() >= deadline:
                raise
            await asyncio.sleep(QUEUE_PAUSE)
        else:
            return


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _reset(*, remote: bool) -> StreamResetError:
    code = ErrorCode.CANCELLED
    return StreamResetError(code, code_name(code, application=True), remote=remote)
