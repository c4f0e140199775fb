"""The own address that a datagram was sent to, so that the answer comes from there.

A socket on every address answers from whichever the route prefers. On a host with several, a client that called another
one of them drops the answer (RFC 9000 section 9 lets a server's address change for nobody).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable

Control = tuple[int, int, bytes]
"""One control message: level, type, data."""

CONTROL_SPACE = 128
"""Bytes for the control messages of one datagram, or of several that came as one."""

_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Linux's number, which Python names since 3.14
_IPV4 = struct.Struct("=i4s4s")  # in_pktinfo: interface, own address, destination in the header (ip(7))
_IPV6 = struct.Struct("=16sI")  # in6_pktinfo: own address, interface (RFC 3542 section 6.1)


def ask_for_source(sock: socket.socket) -> bool:
    """Have a socket on every address report each datagram's own address; returns whether it will."""
    host = sock.getsockname()[0]
    if not ipaddress.ip_address(host).is_unspecified:
        return False
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        return True
    try:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    except OSError:
        return False  # a system without it
    return True


def source_of(ancillary: Iterable[Control]) -> Control | None:
    """Return the control message that sends an answer from where a datagram came to, None if that is not told.

    The interface is left to the route, but for link-local addresses, which mean nothing without one.
    """
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            own, interface = _IPV6.unpack_from(data)
            local = ipaddress.IPv6Address(own).is_link_local
            return level, kind, _IPV6.pack(own, interface if local else 0)
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _interface, own, _destination = _IPV4.unpack_from(data)
            return level, kind, _IPV4.pack(0, own, bytes(4))
    return None
