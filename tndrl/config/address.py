"""``host:port``, as it stands in files, flags and on command lines."""

from __future__ import annotations

import re
from typing import NamedTuple

from tndrl.errors import ConfigError, peer_text

# Labels of letters, digits, hyphens and underscores: what resolvers take, not only what RFC 1123 registers.
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?", re.ASCII
)
_CURE = "write host:port, an IPv6 address in brackets"


class Address(NamedTuple):
    """A host name or IP address (without brackets) and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, listen: bool = False) -> Address:
    """Take ``text`` apart: ``name:4433``, ``192.0.2.1:4433`` or ``[2001:db8::1]:4433``.

    An address to ``listen`` on may have port 0, a free one, and leave the host out, every address. Raises
    ``ConfigError`` for anything else.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise _bad(text, "has no port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not (0 if listen else 1) <= int(port) <= 65535:
        raise _bad(
            text, f"the port '{peer_text(port, 20)}' is not a number from {0 if listen else 1} to 65535"
        )
    if listen and not host:
        return Address("::", int(port))
    return Address(_host(text, host), int(port))


def _host(text: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        if _is_ipv6(host[1:-1]):
            return host[1:-1]
        raise _bad(text, f"'{peer_text(host, 60)}' holds no IPv6 address")
    if not _HOST.fullmatch(host) or (host.replace(".", "").isdecimal() and not _is_ipv4(host)):
        raise _bad(text, f"'{peer_text(host, 60)}' is no host name or IP address")
    return host


def _is_ipv6(text: str) -> bool:
    import socket  # loaded here: most addresses need it not

    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts)


def _bad(text: str, problem: str) -> ConfigError:
    return ConfigError(f"'{peer_text(text, 80)}' is not an address: {problem}; {_CURE}")
