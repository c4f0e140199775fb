"""Session tickets on disk, so that a command that ends with its call finds those of the one before.

One file holds one ticket. Whoever removes the file has the ticket: of many processes that want it the kernel lets one
have it, without any lock. A file is written under another name first, so that it is whole wherever it can be found.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from aioquic.buffer import Buffer
from aioquic.quic.packet import pull_quic_transport_parameters
from aioquic.tls import CipherSuite, ExtensionType, SessionTicket

from pki.errors import SpiffeIdError
from pki.spiffe import SpiffeId
from tndrl.transport.tickets import TICKETS_PER_PEER, Ticket

logger = logging.getLogger("tndrl.transport")

LARGEST_FILE = 256 * 1024
"""Bytes of a file that is read: room for any ticket and chain that we take."""

ABANDONED = 60 * 10**9
"""Nanoseconds after which nobody writes a file any more."""

_SUFFIX, _UNFINISHED = ".ticket", ".new"


class FileTickets:
    """Keeps at most ``limit`` tickets in a directory that is this user's alone (0700), the latest.

    A disk that is full, or a directory that others may read, costs a round trip and fails nothing.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def __repr__(self) -> str:
        return f"<FileTickets {self._directory}>"

    def put(self, peer: str, ticket: Ticket) -> None:
        """Write a ticket; the oldest of a peer that has enough go, and the oldest of all over the limit."""
        try:
            self._prepare()
            name = f"{_key(peer)}-{time.time_ns():020d}-{secrets.token_hex(4)}{_SUFFIX}"
            unfinished = self._directory / f"{name}{_UNFINISHED}"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
                    file.write(_written(ticket))
                unfinished.rename(self._directory / name)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
            self._tidy(peer)
        except OSError as error:
            logger.warning("a session ticket cannot be kept in %s: %s", self._directory, error.strerror)

    def take(self, peer: str) -> Ticket | None:
        """Return the latest ticket for ``peer`` that is alive, and remove its file."""
        try:
            if not self._is_private():
                return None
            for path in reversed(self._files(peer)):
                ticket = _removed(path)
                if ticket is not None and ticket.is_alive:
                    return ticket
        except OSError as error:
            logger.warning("no session ticket can be read in %s: %s", self._directory, error.strerror)
        return None

    def has(self, peer: str) -> bool:
        """Return whether there is a ticket for ``peer``."""
        return bool(self._files(peer))

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_private():
            raise PermissionError(0, "others may read the directory; make it yours alone (chmod 700)")

    def _is_private(self) -> bool:
        try:
            status = self._directory.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077

    def _files(self, peer: str = "") -> list[Path]:
        """Return the files of one peer, or of all, the oldest first."""
        paths = self._directory.glob(f"{_key(peer) if peer else '*'}-*{_SUFFIX}")
        return sorted(paths, key=lambda path: path.name.split("-")[1])

    def _tidy(self, peer: str) -> None:
        for path in self._files(peer)[:-TICKETS_PER_PEER]:
            path.unlink(missing_ok=True)
        for path in self._files()[: -self._limit]:
            path.unlink(missing_ok=True)
        for path in self._directory.glob(f"*{_UNFINISHED}"):
            if time.time_ns() - int(path.name.split("-")[1]) > ABANDONED:
                path.unlink(missing_ok=True)  # of a process that was killed


def _key(peer: str) -> str:
    return sha256(peer.encode()).hexdigest()[:32]


def _removed(path: Path) -> Ticket | None:
    """Read a ticket and remove its file; None if another process was first, or it cannot be used."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE)
        path.unlink()
    except FileNotFoundError:
        return None
    try:
        return _read(data)
    except (msgspec.DecodeError, ValueError, OverflowError, SpiffeIdError):
        logger.warning("%s is no session ticket; removed", path)
        return None


class _Record(msgspec.Struct, frozen=True):
    """What a file holds, as JSON."""

    identity: str
    verified_at: float
    address: list[str | int]
    chain: list[bytes]
    ticket: bytes
    secret: bytes
    cipher_suite: int
    age_add: int
    not_before: float
    not_after: float
    server_name: str | None
    max_early_data: int | None
    extensions: list[tuple[int, bytes]]


def _written(ticket: Ticket) -> bytes:
    session = ticket.session
    record = _Record(
        identity=str(ticket.identity),
        verified_at=ticket.verified_at,
        address=list(ticket.address or ()),
        chain=list(ticket.chain),
        ticket=session.ticket,
        secret=session.resumption_secret,
        cipher_suite=session.cipher_suite,
        age_add=session.age_add,
        not_before=session.not_valid_before.timestamp(),
        not_after=session.not_valid_after.timestamp(),
        server_name=session.server_name,
        max_early_data=session.max_early_data_size,
        extensions=session.other_extensions,
    )
    return msgspec.json.encode(record)


def _read(data: bytes) -> Ticket:
    record = msgspec.json.decode(data, type=_Record)
    for kind, body in record.extensions:
        if kind == ExtensionType.QUIC_TRANSPORT_PARAMETERS:
            pull_quic_transport_parameters(Buffer(data=body))  # raises ValueError
    session = SessionTicket(
        age_add=record.age_add,
        cipher_suite=CipherSuite(record.cipher_suite),
        not_valid_after=datetime.fromtimestamp(record.not_after, UTC),
        not_valid_before=datetime.fromtimestamp(record.not_before, UTC),
        resumption_secret=record.secret,
        server_name=record.server_name,  # type: ignore[arg-type] # None for an address
        ticket=record.ticket,
        max_early_data_size=record.max_early_data,
        other_extensions=list(record.extensions),
    )
    return Ticket(
        session,
        tuple(record.chain),
        SpiffeId.parse(record.identity),
        record.verified_at,
        tuple(record.address) or None,
    )
