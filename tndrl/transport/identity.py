"""Who may be at the other end: the policies that a handshake is checked against."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509

from pki import svid
from pki.alerts import Alert
from pki.spiffe import IdPattern, SpiffeId
from pki.svid import SvidError, TrustBundle, Usage, Violation

VerifyPeer = Callable[[Sequence[bytes]], SpiffeId]
"""Takes the peer's chain in DER, leaf first; returns the verified identity; raises SvidError."""

IsRevoked = Callable[[SpiffeId, int], bool]
"""Takes an identity and the serial number of a certificate for it; tells whether that was revoked."""


def never_revoked(_identity: SpiffeId, _serial: int) -> bool:
    """Return False: there is no revocation yet."""
    return False


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
    is_revoked: IsRevoked = never_revoked

    def verify(self, chain: Sequence[bytes]) -> SpiffeId:
        """Return the client's identity from its chain in DER, leaf first; raises SvidError."""
        identity = svid.verify(chain, self.bundle, Usage.CLIENT)
        _check_revocation(identity, chain[0], self.is_revoked)
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
    is_revoked: IsRevoked = never_revoked

    def verify(self, chain: Sequence[bytes]) -> SpiffeId:
        """Return the server's identity from its chain in DER, leaf first; raises SvidError."""
        identity = svid.verify(chain, self.bundle, Usage.SERVER)
        _check_revocation(identity, chain[0], self.is_revoked)
        if self.expected is None:
            svid.verify_host(x509.load_der_x509_certificate(chain[0]), self.host)
        elif identity != self.expected:
            raise UnexpectedIdentityError(
                str(self.expected), identity, f"expected {self.expected}, the certificate says {identity}"
            )
        return identity


def unchanged(verify_peer: VerifyPeer, known: SpiffeId) -> VerifyPeer:
    """Return a policy that asks for ``known`` too: who was taken for the peer until its certificate arrived."""

    def verify(chain: Sequence[bytes]) -> SpiffeId:
        identity = verify_peer(chain)
        if identity != known:
            message = f"it was {known} before, the certificate says {identity}"
            raise UnexpectedIdentityError(str(known), identity, message)
        return identity

    return verify


def _check_revocation(identity: SpiffeId, leaf: bytes, is_revoked: IsRevoked) -> None:
    if is_revoked is never_revoked:
        return
    serial = x509.load_der_x509_certificate(leaf).serial_number
    if is_revoked(identity, serial):
        message = f"the certificate {serial:x} of {identity} was revoked"
        raise SvidError([Violation("revoked", Alert.certificate_revoked, message)], identity)


def server_name(host: str) -> str | None:
    """Return what the client puts into SNI for ``host``: nothing for an address (RFC 6066 section 3)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return None
