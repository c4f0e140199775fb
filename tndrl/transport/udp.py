"""A UDP socket on the event loop: read in batches, and told when a port is closed."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from tndrl.transport.source import CONTROL_SPACE, ask_for_source, source_of

logger = logging.getLogger("tndrl.transport")

BATCH = 32
"""Datagrams read per wake-up, so that one busy socket leaves the event loop to others."""

MAX_DATAGRAM = 65535

# Linux's numbers, which Python's socket module does not name before 3.14.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000

Address = tuple[Any, ...]
"""A socket address of Python's. Where a socket listens on every address, the own one follows, as a control message."""


def bind_udp(host: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket bound to ``host`` and ``port``; ``::`` takes IPv4 too. Raises OSError.

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
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        _ask_for_errors(sock)
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
        _ask_for_errors(sock)
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


def _ask_for_errors(sock: socket.socket) -> None:
    """Have ICMP errors queued with the address they are about, which an unconnected socket never hears of."""
    if sys.platform != "linux":
        return
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)


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
    ) -> None:
        self._sock = sock
        self._on_datagram = on_datagram
        self._on_batch = on_batch
        self._on_port_closed = on_port_closed
        self._loop = asyncio.get_running_loop()
        self.address: Address = sock.getsockname()
        self._tells_source = answer_from_destination and ask_for_source(sock)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram. One that the system does not take now is lost, as the network may lose it too."""
        for _attempt in range(2):
            try:
                self._send(data, address)
            except BlockingIOError:
                return
            except OSError as error:
                # A queued ICMP error of another peer is reported here once, and nothing was sent.
                if not self._read_errors() and error.errno != errno.ECONNREFUSED:
                    logger.debug("datagram of %d bytes to %s not sent: %s", len(data), address, error)
                    return
            else:
                return

    def _send(self, data: bytes, address: Address) -> None:
        if isinstance(address[-1], tuple):
            *destination, source = address
            self._sock.sendmsg([data], [source], 0, tuple(destination))
        else:
            self._sock.sendto(data, address)

    def _receive(self) -> tuple[bytes, Address]:
        if not self._tells_source:
            return self._sock.recvfrom(MAX_DATAGRAM)
        data, ancillary, _flags, address = self._sock.recvmsg(MAX_DATAGRAM, CONTROL_SPACE)
        source = source_of(ancillary)
        return data, address if source is None else (*address, source)

    def close(self) -> None:
        """Close the socket. Calling it again does nothing."""
        if self._sock.fileno() != -1:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        for _ in range(BATCH):
            if self._sock.fileno() == -1:
                return
            try:
                data, address = self._receive()
            except BlockingIOError:
                self._read_errors()
                break
            except OSError as error:
                if not self._read_errors():
                    logger.debug("reading from the UDP socket failed: %s", error)
                continue
            self._on_datagram(data, address)
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
