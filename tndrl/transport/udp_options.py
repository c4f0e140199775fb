"""What a UDP socket is asked for when it is made: buffers, no fragments, and reports of errors."""

from __future__ import annotations

import socket
import sys
from typing import Any

BUFFER = 4 * 1024 * 1024
"""Bytes asked of the system for each direction: its default of 208 KiB loses packets at full speed."""

# The systems' numbers, which Python's socket module does not name before 3.14.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_NO_FRAGMENTS = {
    # IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, both to IP_PMTUDISC_PROBE: nothing is fragmented, and a forged ICMP message
    # makes nothing smaller (RFC 8899 section 4.6).
    "linux": {socket.AF_INET: [(socket.IPPROTO_IP, 10, 3)], socket.AF_INET6: [(socket.IPPROTO_IPV6, 23, 3)]},
    # IP_DONTFRAG and IPV6_DONTFRAG
    "darwin": {socket.AF_INET: [(socket.IPPROTO_IP, 28, 1)], socket.AF_INET6: [(socket.IPPROTO_IPV6, 62, 1)]},
}
_MAPPED = "::ffff:"
_ROUTE_MTU = {  # of IPv6 or not: IP_MTU and IPV6_MTU, and the bytes of the IP and UDP headers
    False: (socket.AF_INET, socket.IPPROTO_IP, 14, 28),
    True: (socket.AF_INET6, socket.IPPROTO_IPV6, 24, 48),
}
_CURE = {
    "linux": "sysctl -w net.core.rmem_max={size} net.core.wmem_max={size}",
    "darwin": "sysctl -w kern.ipc.maxsockbuf={twice}",
}


def ask_for_errors(sock: socket.socket) -> None:
    """Have ICMP errors queued with the address they are about, which an unconnected socket never hears of."""
    if sys.platform != "linux":
        return
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)


def forbid_fragments(sock: socket.socket) -> bool:
    """Have no datagram fragmented on its way (RFC 9000 section 14); returns whether the system does that."""
    options = _NO_FRAGMENTS.get(sys.platform, {})
    wanted = list(options.get(sock.family, ()))
    if sys.platform == "linux" and sock.family == socket.AF_INET6:
        wanted += options[socket.AF_INET]  # of a socket that takes IPv4 too
    try:
        for level, name, value in wanted:
            sock.setsockopt(level, name, value)
    except OSError:
        return False
    return bool(wanted)


def ask_for_buffers(sock: socket.socket, size: int = BUFFER) -> None:
    """Ask for buffers of ``size`` bytes; systems give what they allow."""
    for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, name, size)
        except OSError:  # macOS refuses what Linux cuts down
            continue


def small_buffers(sock: socket.socket, size: int = BUFFER) -> str | None:
    """Return a warning with its cure if the buffers are smaller than ``size``, None if they are not."""
    doubled = 2 if sys.platform == "linux" else 1  # Linux tells what it uses itself too (socket(7))
    given = min(
        sock.getsockopt(socket.SOL_SOCKET, name) // doubled for name in (socket.SO_RCVBUF, socket.SO_SNDBUF)
    )
    if given >= size:
        return None
    cure = _CURE.get(sys.platform, "raise the system's limit of socket buffers")
    return (
        f"the system gives UDP sockets {given // 1024} KiB of buffer instead of {size // 1024} KiB, so bursts "
        f"are lost; run '{cure.format(size=size, twice=2 * size)}' as root, and put it in /etc/sysctl.d to keep it"
    )


def route_payload(address: tuple[Any, ...]) -> int | None:
    """Return the bytes of UDP payload that the link to ``address`` carries, None where the system does not tell."""
    if sys.platform != "linux":
        return None
    host, *rest = address[:4] if not isinstance(address[-1], tuple) else address[:-1]
    if host.startswith(_MAPPED):
        host, rest = host.removeprefix(_MAPPED), rest[:1]
    family, level, name, headers = _ROUTE_MTU[":" in host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, *rest))  # sends nothing
            return sock.getsockopt(level, name) - headers
    except OSError:
        return None


def own_address(address: tuple[Any, ...]) -> str | None:
    """Return the own address from which datagrams to ``address`` leave; None where no route leads there."""
    try:
        return departure(address)
    except OSError:
        return None


def departure(address: tuple[Any, ...]) -> str:
    """Return the same; raises OSError where no route leads there."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)  # sends nothing
        own: str = sock.getsockname()[0]
    return own
