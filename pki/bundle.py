"""Whom a node trusts to name others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import Store

from pki.alerts import Alert
from pki.errors import FileError, SpiffeIdError, SvidError, Violation
from pki.parsed import UNREADABLE, Parsed
from pki.path import subject
from pki.spiffe import DEFAULT_TRUST_DOMAIN, SpiffeId


@dataclass(frozen=True)
class TrustBundle:
    """The roots of one trust domain: who may vouch for its identities."""

    trust_domain: str
    roots: tuple[x509.Certificate, ...]

    @classmethod
    def from_pem(cls, data: bytes, *, source: str = "ca.crt", key: str | None = None) -> TrustBundle:
        """Read CA certificates in PEM; other text around them is ignored.

        The trust domain stands as ``spiffe://<trust domain>`` in a root's URI name; a root without one stands for
        "tndrl". ``source`` and the configuration key ``key`` stand in errors. Raises ``FileError`` if a certificate
        cannot be used as a root, or if the roots disagree.
        """
        path = Path(source)
        try:
            roots = x509.load_pem_x509_certificates(data)
            domains = {_domain_of_root(root) for root in map(Parsed.of, roots)}
        except (SpiffeIdError, SvidError) as error:
            problem = f"not usable as trusted CA: {error}"
            raise FileError(path, problem, "put only CA certificates there", key=key) from error
        except UNREADABLE as error:
            problem = "holds no readable PEM certificates"
            raise FileError(path, problem, "put the CA certificate there", key=key) from error
        if len(domains) > 1:
            problem = f"its CA certificates are of different trust domains ({', '.join(sorted(domains))})"
            raise FileError(path, problem, "keep those of one trust domain", key=key)
        return cls(domains.pop(), tuple(roots))

    @cached_property
    def parsed(self) -> tuple[Parsed, ...]:
        """The roots, read."""
        return tuple(map(Parsed.of, self.roots))

    @cached_property
    def store(self) -> Store:
        """The roots, as the library's path validation wants them."""
        return Store(list(self.roots))


def _domain_of_root(root: Parsed) -> str:
    constraints = root.find(x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        message = f"{subject(root)} is not a CA (basicConstraints CA:TRUE is missing)"
        raise SvidError([Violation("issuer", Alert.unknown_ca, message)])
    identities = [SpiffeId.parse(uri) for uri in root.uris if uri.startswith("spiffe:")]
    if len(identities) > 1 or any(identity.path for identity in identities):
        raise SpiffeIdError(
            "trust domain", " ".join(root.uris), "a CA names one trust domain, without a path"
        )
    return identities[0].trust_domain if identities else DEFAULT_TRUST_DOMAIN
