"""A UDP socket on the event loop: read and written in batches, and told when a port is closed."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tndrl.transport.mtu import BASE, LARGEST
from tndrl.transport.segments import ask_for_segments, runs, segment_size, split
from tndrl.transport.source import CONTROL_SPACE, ask_for_source, source_of
from tndrl.transport.udp_options import ask_for_buffers, ask_for_errors, forbid_fragments

logger = logging.getLogger("tndrl.transport")

BATCH = 1024
"""Datagrams after which a wake-up reads no more, so that one busy socket leaves the event loop to others.

So many that the socket is emptied faster than a flood fills it: what overflows in the system is anybody's.
"""

MAX_DATAGRAM = 65535

_MSG_ERRQUEUE = 0x2000  # Linux's number, which Python's socket module does not name

Address = tuple[Any, ...]
"""A socket address of Python's. Where a socket listens on every address, the own one follows, as a control message."""


def format_address(address: Address) -> str:
    """Return ``host:port``, an IPv6 host in brackets, an IPv4-mapped one as IPv4."""
    host, port = address[0], address[1]
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_udp(host: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket bound to ``host`` and ``port``; ``::`` takes IPv4 too.

    Raises OSError.

    Where IPv6 is impossible, ``::`` becomes ``0.0.0.0``.
    """
    if host == "::" and not _ipv6_works():
        host = "0.0.0.0"  # noqa: S104 - the documented stand-in for [::]
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, _type, _protocol, _name, address = infos[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            takes_ipv4 = host == "::" or str(address[0]).startswith("::ffff:")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if takes_ipv4 else 1)
        _prepare(sock)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def client_udp(family: int) -> socket.socket:
    """Return a non-blocking UDP socket on a port of the system's choice, to call from. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        _prepare(sock)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))  # noqa: S104 - answers may come anywhere
    except BaseException:
        sock.close()
        raise
    return sock


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _prepare(sock: socket.socket) -> None:
    ask_for_errors(sock)
    ask_for_buffers(sock)


class UdpSocket:
    """Owns a bound socket: hands received datagrams and port-closed reports to its callbacks."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_datagram: Callable[[bytes, Address], None],
        on_batch: Callable[[], None],
        on_port_closed: Callable[[Address], None],
        answer_from_destination: bool = False,
        offload: bool = True,
    ) -> None:
        self._sock = sock
        self._on_datagram = on_datagram
        self._on_batch = on_batch
        self._on_port_closed = on_port_closed
        self._loop = asyncio.get_running_loop()
        self.address: Address = sock.getsockname()
        self._tells_source = answer_from_destination and ask_for_source(sock)
        # Whether the system takes and gives many datagrams as one buffer; ``offload`` False does without.
        self._in_segments = offload and ask_for_segments(sock)
        self._sends_segments = self._in_segments
        # What may be sent: without the ban on fragments, nothing tells what a path carries.
        self.largest = LARGEST if forbid_fragments(sock) else BASE
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram. One that the system does not take now is lost, as the network may lose it too."""
        error = self._try([data], address)
        if error is not None:
            logger.debug("datagram of %d bytes to %s not sent: %s", len(data), address, error)

    def send_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> None:
        """Send datagrams in order, those that may leave together with one call. Each may be lost as in :meth:`send`."""
        for run, address in runs(datagrams):
            if len(run) == 1 or not self._send_run(run, address):
                for data in run:
                    self.send(data, address)

    def _send_run(self, run: list[bytes], address: Address) -> bool:
        """Send datagrams as one buffer; returns False if nothing was sent and they must go one by one."""
        if not self._sends_segments:
            return False
        error = self._try(run, address)
        if error is None or error.errno == errno.ENOBUFS:
            return True
        # EIO: the interface cannot. EINVAL, EMSGSIZE: larger than its MTU, which smaller ones may not be.
        self._sends_segments = error.errno != errno.EIO
        return False

    def _try(self, run: list[bytes], address: Address) -> OSError | None:
        """Send a run; returns what the system has against it. What it has no room for now is lost without a word."""
        for attempt in range(2):
            if self._sock.fileno() == -1:
                return None
            try:
                self._send(run, address)
            except BlockingIOError:
                return None
            except OSError as error:
                # A queued ICMP error of another peer is reported here once, and nothing was sent.
                if attempt or not (self._read_errors() or error.errno == errno.ECONNREFUSED):
                    return error
            else:
                return None
        return None

    def _send(self, run: Sequence[bytes], address: Address) -> None:
        control = []
        if isinstance(address[-1], tuple):
            *destination, source = address
            address = tuple(destination)
            control.append(source)
        if len(run) > 1:
            control.append(segment_size(len(run[0])))
        if control:
            self._sock.sendmsg(run, control, 0, address)
        else:
            self._sock.sendto(run[0], address)

    def _receive(self) -> tuple[Sequence[bytes], Address]:
        """Return what one call gives: a datagram, or several of one sender."""
        if not (self._tells_source or self._in_segments):
            data, address = self._sock.recvfrom(MAX_DATAGRAM)
            return (data,), address
        data, ancillary, _flags, address = self._sock.recvmsg(MAX_DATAGRAM, CONTROL_SPACE)
        if not ancillary:
            return (data,), address
        source = source_of(ancillary) if self._tells_source else None
        return split(data, ancillary), address if source is None else (*address, source)

    def close(self) -> None:
        """Close the socket. Calling it again does nothing."""
        if self._sock.fileno() != -1:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        count = 0
        while count < BATCH:
            try:
                datagrams, address = self._receive()
            except BlockingIOError:
                if not count:
                    self._read_errors()  # which is what woke us
                break
            except OSError as error:
                count += 1
                if not self._read_errors():
                    logger.debug("reading from the UDP socket failed: %s", error)
                continue
            count += len(datagrams)
            for data in datagrams:
                self._on_datagram(data, address)
                if self._sock.fileno() == -1:
                    return
        self._on_batch()

    def _read_errors(self) -> int:
        """Drain the socket's error queue (ip(7), IP_RECVERR); returns how many reports there were."""
        if sys.platform != "linux":
            return 0
        count = 0
        while self._sock.fileno() != -1:
            try:
                _data, ancillary, _flags, address = self._sock.recvmsg(1, 512, _MSG_ERRQUEUE)
            except OSError:
                break
            count += 1
            if any(int.from_bytes(data[:4], sys.byteorder) == errno.ECONNREFUSED for _, _, data in ancillary):
                self._on_port_closed(address)
        return count
