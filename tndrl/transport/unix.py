"""Byte streams over unix sockets: the local half of every bridged stream."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

from tndrl.errors import StreamClosedError, StreamResetError, UsageError
from tndrl.transport.codes import ErrorCode, code_name
from tndrl.transport.stream import CHUNK, ByteStream, Told, sent_after_end, tell_later

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
        self._tell_readable: Told = None
        self._tell_writable: Told = None
        self._is_watched = False  # whether the loop tells when there is something to read
        self._drained = False  # the last read took all there was
        self._pending = b""  # what the socket did not take yet
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

    def take(self, limit: int = CHUNK) -> bytes | None:
        """Return what the other end sent."""
        self._raise_if_failed()
        if self._drained:
            return None
        size = min(limit, RECEIVE_SIZE)
        try:
            data: bytes = self._socket.recv(size)
        except BlockingIOError:
            self._drained = True
            self._watch()
            return None
        except OSError:
            self._failure = _reset(remote=True)
            raise self._failure from None
        if 0 < len(data) < size:
            self._drained = True
            self._watch()
        return data

    def when_readable(self, told: Told) -> None:
        """Call ``told`` when the other end has sent something."""
        self._tell_readable = told
        if self._drained:
            self._watch()

    def _watch(self) -> None:
        """Have the loop watch the socket. It stays watched: to watch it anew for each message costs more."""
        if self._tell_readable is not None and not self._is_watched and self._failure is None:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._is_watched = True

    def _on_readable(self) -> None:
        self._drained = False
        if self._tell_readable is not None:
            self._tell_readable()
        if not self._drained:
            self._unwatch()  # nobody wants it now

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._loop.remove_reader(self._socket.fileno())

    @property
    def is_full(self) -> bool:
        """Whether the socket did not take all of what was put."""
        return bool(self._pending)

    def put(self, data: bytes, *, at_once: bool = False) -> None:
        """Send ``data``, as much as the socket takes now; the rest follows."""
        if self._eof_sent:
            raise sent_after_end()
        self.raise_if_unsendable()
        if self._pending:
            self._pending += data
            return
        if self._write(data):
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        elif self._send_failure is not None:
            raise self._send_failure

    def _write(self, data: bytes) -> bool:
        """Write what the socket takes now; returns whether something of it is pending."""
        try:
            while (sent := self._socket.send(data)) < len(data):
                data = data[sent:]
        except BlockingIOError:
            self._pending = data
            return True
        except OSError:
            self._send_failure = _reset(remote=True)
        self._pending = b""
        return False

    def _on_writable(self) -> None:
        if not self._write(self._pending):
            self._loop.remove_writer(self._socket.fileno())
            if self._eof_sent and self._send_failure is None:
                self._shut()
            if self._tell_writable is not None:
                self._tell_writable()

    def when_writable(self, told: Told) -> None:
        """Call ``told`` when the socket has taken all of what was put."""
        self._tell_writable = told

    def put_eof(self) -> None:
        """End what we send."""
        self.raise_if_unsendable()
        if not self._eof_sent:
            self._eof_sent = True
            if not self._pending:
                self._shut()
                self.raise_if_unsendable()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._send_failure = _reset(remote=True)

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
        if (fd := self._socket.fileno()) != -1:
            self._unwatch()
            self._loop.remove_writer(fd)
            self._pending = b""
            self._socket.close()
            tell_later(self._tell_readable)
            tell_later(self._tell_writable)

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def raise_if_unsendable(self) -> None:
        """Raise what has ended sending."""
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


def _reset(*, remote: bool) -> StreamResetError:
    code = ErrorCode.CANCELLED
    return StreamResetError(code, code_name(code, application=True), remote=remote)
