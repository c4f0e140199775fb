"""Names and addresses of hosts: which of them a certificate names, and which this host has."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki.alerts import Alert
from pki.errors import RefusedError, SvidError, Violation, shown
from pki.parsed import Parsed

LOCAL_NAMES = ("localhost",)
LOCAL_ADDRESSES = ("127.0.0.1", "::1")
"""Every issued certificate names these, so that a Go node, which checks host names, accepts it locally."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_MAX_DNS_NAME = 253


def verify_host(leaf: bytes | x509.Certificate, host: str) -> None:
    """Check that a certificate names a host: a DNS name, or the literal of an IP address without brackets.

    RFC 9525 section 6: an address matches iPAddress names only, a name dNSName names only, ``*`` stands for one
    whole first label, and the subject's common name counts for nothing. Raises ``SvidError`` with bad_certificate.
    """
    parsed = Parsed.from_der(leaf if isinstance(leaf, bytes) else leaf.public_bytes(Encoding.DER))
    names = parsed.find(x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    try:
        matches = str(ipaddress.ip_address(host.partition("%")[0])) in addresses
    except ValueError:
        matches = any(_dns_matches(name.lower(), host.lower().removesuffix(".")) for name in hosts)
    if not matches:
        known = shown(", ".join([*hosts, *addresses])) or "no host at all"
        message = f"the certificate is not for '{shown(host)}'; it names {known}"
        raise SvidError([Violation("host-name", Alert.bad_certificate, message)])


def _dns_matches(name: str, host: str) -> bool:
    first, _, rest = host.partition(".")
    return bool(host) and (name == host or (bool(first and rest) and name == f"*.{rest}"))


def parse_dns_name(text: str) -> str:
    """Return a DNS name in lower case, perhaps with ``*.`` in front. Raises ``RefusedError``."""
    name = text.lower().removesuffix(".")
    if name.replace(".", "").isdigit() or ":" in name:
        raise RefusedError(f"'{shown(text, 80)}' is an address, not a DNS name", "pass it as an IP address")
    if len(name) > _MAX_DNS_NAME or not _DNS_NAME.fullmatch(name):
        cure = "use letters, digits, dashes and dots (names in other scripts in their xn-- form)"
        raise RefusedError(f"'{shown(text, 80)}' is not a DNS name", cure)
    return name


def parse_address(text: str) -> IpAddress:
    """Return the IP address that a text stands for, without a zone. Raises ``RefusedError``."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        cure = "write it like 192.0.2.7 or 2001:db8::7, without a port"
        raise RefusedError(f"'{shown(text, 80)}' is not an IP address", cure) from None


def alternative_names(dns: Iterable[str], ips: Iterable[str]) -> list[x509.GeneralName]:
    """Return the names of a certificate: the local ones first, then these, each once. Raises ``RefusedError``."""
    names = dict.fromkeys(parse_dns_name(name) for name in (*LOCAL_NAMES, *dns))
    addresses = dict.fromkeys(parse_address(ip) for ip in (*LOCAL_ADDRESSES, *ips))
    return [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]


def names_of_this_host() -> tuple[list[str], list[str]]:
    """Return the DNS names and IP addresses by which others may know this host. Asks the resolver, so it may block."""
    names = [name for name in (socket.gethostname(), socket.getfqdn()) if _is_dns_name(name)]
    return names, list(dict.fromkeys(_addresses()))


def _is_dns_name(text: str) -> bool:
    try:
        parse_dns_name(text)
    except RefusedError:
        return False
    return True


def _addresses() -> Iterator[str]:
    """Yield the addresses that packets to other hosts would leave from; connecting UDP sends nothing."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((somewhere, 9))
                yield probe.getsockname()[0].partition("%")[0]
        except OSError:
            continue  # No route of this family: nobody reaches this host that way.
