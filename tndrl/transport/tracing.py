"""What a person looks at connections with: qlog files for qvis, and a TLS key log for Wireshark."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QLOG_VERSION, QuicLogger, QuicLoggerTrace

from tndrl.errors import ConfigError

logger = logging.getLogger("tndrl.transport")

MAX_FILES = 1000
"""Connections that one socket writes files of: a peer that makes connections without end must not fill the disk."""


@dataclass(frozen=True)
class TraceSettings:
    """Where connections are traced; None turns that kind off."""

    qlog_dir: Path | None = None
    qlog_size: int = 16 * 1024 * 1024
    """Bytes of one connection's file."""
    key_log_file: Path | None = None


class Tracing:
    """The traces of one socket's connections, and the file of their secrets. Raises ConfigError; close it."""

    def __init__(self, settings: TraceSettings) -> None:
        self._qlog = QlogDirectory(settings.qlog_dir, settings.qlog_size) if settings.qlog_dir else None
        self._keys = KeyLog(settings.key_log_file) if settings.key_log_file else None

    def apply(self, configuration: QuicConfiguration) -> None:
        """Have the connections of ``configuration`` traced."""
        configuration.quic_logger = self._qlog
        configuration.secrets_log_file = self._keys  # type: ignore[assignment] # two methods of a TextIO are used

    def close(self) -> None:
        """Close every file."""
        if self._qlog is not None:
            self._qlog.close()
        if self._keys is not None:
            self._keys.close()


class KeyLog:
    """A file in the key log format (RFC 9850), mode 0600. What cannot be written is left out, with one warning."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}; choose a file that this user can write",
                key="transport.keyLogFile",
            ) from error
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.fchmod(self._fd, 0o600)  # one that was there already may have been readable
        self._path = path
        self._broken = False
        logger.warning(
            "writing the secrets of all connections to %s: whoever reads it reads their traffic", path
        )

    def write(self, line: str) -> None:
        """Append one line, whole even where several processes write."""
        if self._broken:
            return
        try:
            os.write(self._fd, line.encode())
        except OSError as error:
            self._broken = True
            logger.warning("no more secrets are written to %s: %s", self._path, error.strerror)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class QlogDirectory(QuicLogger):
    """Writes each connection's events to a file of its own, as they happen, in JSON text sequences (RFC 7464)."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot use {path}: {error.strerror}; choose a directory that this user can write",
                key="transport.qlogDir",
            ) from error
        self._path = path
        self._size = size
        self._files = 0
        self._open: set[QlogTrace] = set()

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        """Begin the file of a connection: its original destination connection ID and our role name it."""
        trace = QlogTrace(self._create(is_client, odcid), self._size, is_client=is_client, odcid=odcid)
        self._open.add(trace)
        return trace

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """Close a connection's file."""
        if isinstance(trace, QlogTrace):
            self._open.discard(trace)
            trace.close()

    def close(self) -> None:
        """Close the files of connections that have not ended."""
        for trace in tuple(self._open):
            self.end_trace(trace)

    def _create(self, is_client: bool, odcid: bytes) -> BinaryIO | None:
        self._files += 1
        if self._files > MAX_FILES:
            if self._files == MAX_FILES + 1:
                logger.warning(
                    "%s has the traces of %d connections; no more are written", self._path, MAX_FILES
                )
            return None
        name = f"{odcid.hex() or 'none'}-{'client' if is_client else 'server'}"
        # A peer chooses its ID and may choose one twice.
        for path in (self._path / f"{name}.sqlog", self._path / f"{name}-{self._files}-{os.getpid()}.sqlog"):
            try:
                return os.fdopen(
                    os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
                )
            except FileExistsError:
                continue
            except OSError as error:
                logger.warning("a connection is not traced: %s: %s", path, error.strerror)
                break
        return None


class QlogTrace(QuicLoggerTrace):
    """One connection's events, written until the file is full."""

    def __init__(self, file: BinaryIO | None, size: int, *, is_client: bool, odcid: bytes) -> None:
        super().__init__(is_client=is_client, odcid=odcid)
        self._file = file
        self._left = size
        trace = self.to_dict()
        del trace["events"]
        self._write({"qlog_version": QLOG_VERSION, "qlog_format": "JSON-SEQ", "trace": trace})

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        """Write one event; nothing is kept in memory."""
        if self._file is not None:
            self._write({"time": self.encode_time(time.time()), "name": f"{category}:{event}", "data": data})

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                logger.warning("the end of a trace is lost: %s", error.strerror)

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        line = b"\x1e" + json.dumps(record, separators=(",", ":")).encode() + b"\n"
        self._left -= len(line)
        if self._left < 0:
            self.close()
            return
        try:
            self._file.write(line)
        except OSError as error:
            logger.warning("a trace ends early: %s", error.strerror)
            self.close()
