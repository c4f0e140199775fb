"""Who may be at the other end: the policies that a handshake is checked against."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from pki import svid
from pki.alerts import Alert
from pki.spiffe import IdPattern, SpiffeId
from pki.svid import SvidError, TrustBundle, Usage, Violation


class UnexpectedIdentityError(SvidError):
    """A valid certificate of somebody else than ``expected``."""

    def __init__(self, expected: str, actual: SpiffeId, message: str) -> None:
        violation = Violation("identity.expected", Alert.access_denied, message)
        super().__init__((violation,), spiffe_id=actual)
        self.expected = expected
        self.actual = str(actual)


@dataclass(frozen=True)
class ClientPolicy:
    """What a server asks of a client: a valid certificate, and an identity that ``allow`` names."""

    bundle: TrustBundle
    allow: tuple[IdPattern, ...] = ()
    """Who may connect; empty: everybody of the bundle's trust domain."""

    def verify(self, chain: Sequence[bytes]) -> SpiffeId:
        """Return the client's identity from its chain in DER, leaf first; raises SvidError."""
        identity = svid.verify(chain, self.bundle, Usage.CLIENT)
        if self.allow and not any(pattern.matches(identity) for pattern in self.allow):
            names = ", ".join(str(pattern) for pattern in self.allow)
            raise UnexpectedIdentityError(names, identity, f"{identity} is not in server.allow")
        return identity


@dataclass(frozen=True)
class ServerPolicy:
    """What a client asks of a server: a valid certificate for the identity expected, or else for the host name."""

    bundle: TrustBundle
    host: str
    expected: SpiffeId | None = None

    def verify(self, chain: Sequence[bytes]) -> SpiffeId:
        """Return the server's identity from its chain in DER, leaf first; raises SvidError."""
        identity = svid.verify(chain, self.bundle, Usage.SERVER)
        if self.expected is None:
            svid.verify_host(x509.load_der_x509_certificate(chain[0]), self.host)
        elif identity != self.expected:
            raise UnexpectedIdentityError(
                str(self.expected), identity, f"expected {self.expected}, the certificate says {identity}"
            )
        return identity


def server_name(host: str) -> str | None:
    """Return what the client puts into SNI for ``host``: nothing for an address (RFC 6066 section 3)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return None
