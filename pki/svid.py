"""The rules of the X509-SVID profile, and the TLS alert that each broken one deserves.

``violations`` applies every rule; ``verify`` raises the first. They come in the order that chooses the alert: what
cannot be read, then who vouches for it, then its time, then what it may be used for. Last of all the library's own
path validation runs over what these rules accepted: a second net, which should never catch anything.

The rules and their alerts are listed in docs/pki.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    VerificationError,
)

from pki.alerts import Alert
from pki.bundle import TrustBundle
from pki.constraints import constrains_uris, constraint_violations
from pki.errors import SpiffeIdError, SvidError, Violation, shown
from pki.hosts import verify_host
from pki.parsed import Parsed
from pki.path import (
    Path,
    find_paths,
    issuer_violations,
    memory_of_signatures,
    missing_path,
    subject,
)
from pki.spiffe import SpiffeId

__all__ = ["SvidError", "TrustBundle", "Usage", "Violation", "verify", "verify_host", "violations"]

MAX_CHAIN = 4
"""Certificates a peer may present: a leaf and three intermediates."""


class Usage(Enum):
    """The role in which a presented certificate must be usable."""

    SERVER = "server"
    CLIENT = "client"

    @property
    def opposite(self) -> Usage:
        """The role of the one who looks at the certificate."""
        return Usage.CLIENT if self is Usage.SERVER else Usage.SERVER

    @property
    def extended(self) -> x509.ObjectIdentifier:
        """The extended key usage that allows the role."""
        oids = ExtendedKeyUsageOID
        return oids.SERVER_AUTH if self is Usage.SERVER else oids.CLIENT_AUTH


def verify(
    chain_der: Sequence[bytes], bundle: TrustBundle, usage: Usage, *, now: datetime | None = None
) -> SpiffeId:
    """Return the identity that a presented chain (leaf first) proves in the role ``usage``.

    ``now`` is the moment of validity, the present by default. Raises ``SvidError`` with the first violation; nothing
    that stands in the chain makes it raise anything else.
    """
    identity, found = _examine(chain_der, bundle, usage, now)
    if found or identity is None:
        raise SvidError(found[:1], identity)
    return identity


def violations(
    chain_der: Sequence[bytes], bundle: TrustBundle, usage: Usage, *, now: datetime | None = None
) -> list[Violation]:
    """Return every violation that ``verify`` could find, in the order that chooses the alert; empty if all is well."""
    return _examine(chain_der, bundle, usage, now)[1]


def _examine(
    chain_der: Sequence[bytes], bundle: TrustBundle, usage: Usage, now: datetime | None
) -> tuple[SpiffeId | None, list[Violation]]:
    try:
        leaf, *pool = _read(chain_der, usage)
    except SvidError as error:
        return None, list(error.violations)
    now = now or datetime.now(UTC)
    path, found = _choose_path(leaf, pool, bundle)
    found += [violation for parsed in path for violation in _time_violations(parsed, now)]
    identity, named = _identity(leaf, bundle)
    found += [*_leaf_violations(leaf), *named, *_usage_violations(path, usage), *_unknown_extensions(path)]
    if not found and not constrains_uris(path):  # the library refuses what it cannot read
        found += _second_net(leaf, pool, bundle, now)
    return identity, found


def _read(chain_der: Sequence[bytes], usage: Usage) -> list[Parsed]:
    """Read a chain without checking any signature, so that refusing junk stays cheap. Raises ``SvidError``."""
    if not chain_der:
        # RFC 8446 section 4.4.2.4: a client may have none, a server must have one.
        alert = Alert.certificate_required if usage is Usage.CLIENT else Alert.decode_error
        raise SvidError([Violation("no-certificate", alert, "no certificate was presented")])
    if len(chain_der) > MAX_CHAIN:
        message = f"the chain has {len(chain_der)} certificates; at most {MAX_CHAIN} are accepted"
        raise SvidError([Violation("chain-length", Alert.unknown_ca, message)])
    return [Parsed.from_der(der) for der in chain_der]


def _choose_path(leaf: Parsed, pool: Sequence[Parsed], bundle: TrustBundle) -> tuple[Path, list[Violation]]:
    """Return the first path whose issuers may issue, or the first path with what is wrong, or the leaf alone."""
    signed = memory_of_signatures()
    paths = [
        (path, [*issuer_violations(path), *constraint_violations(path)])
        for path in find_paths(leaf, pool, bundle.parsed, signed)
    ]
    if not paths:
        return (leaf,), [missing_path(leaf, pool, bundle.parsed, signed)]
    return next((choice for choice in paths if not choice[1]), paths[0])


def _time_violations(parsed: Parsed, now: datetime) -> Iterator[Violation]:
    # RFC 5280 section 4.1.2.5: both ends are included. RFC 8446 section 6.2: one alert for before and after.
    start, end = parsed.certificate.not_valid_before_utc, parsed.certificate.not_valid_after_utc
    if now > end:
        message = f"the certificate of {subject(parsed)} expired at {end:%Y-%m-%d %H:%M:%SZ}"
        yield Violation("expired", Alert.certificate_expired, message)
    if now < start:
        message = f"the certificate of {subject(parsed)} is not valid before {start:%Y-%m-%d %H:%M:%SZ}"
        yield Violation("not-yet-valid", Alert.certificate_expired, message)


def _identity(leaf: Parsed, bundle: TrustBundle) -> tuple[SpiffeId | None, list[Violation]]:
    """Return the leaf's identity and what is wrong with it (X509-SVID sections 2, 3.1 and 5.2)."""

    def wrong(rule: str, message: str) -> list[Violation]:
        return [Violation(rule, Alert.bad_certificate, message)]

    uris = leaf.uris
    if len(uris) != 1:
        return None, wrong("uri-san", f"the leaf has {len(uris)} URI names; a SPIFFE identity is exactly one")
    try:
        identity = SpiffeId.parse(uris[0])
    except SpiffeIdError as error:
        return None, wrong("spiffe-id", str(error))
    if not identity.path:
        return identity, wrong("spiffe-id", f"'{identity}' names a trust domain, not a workload")
    if identity.trust_domain != bundle.trust_domain:
        message = f"'{shown(str(identity))}' is not of the trust domain '{bundle.trust_domain}'"
        return identity, wrong("trust-domain", message)
    return identity, []


def _leaf_violations(leaf: Parsed) -> Iterator[Violation]:
    """Yield what makes a certificate no leaf (X509-SVID sections 4.1 and 4.3)."""

    def wrong(rule: str, message: str) -> Violation:
        return Violation(rule, Alert.bad_certificate, message)

    constraints = leaf.find(x509.BasicConstraints)
    usage = leaf.find(x509.KeyUsage)
    if constraints is not None and constraints.ca:
        yield wrong("leaf-is-ca", "the leaf is a CA certificate (basicConstraints CA:TRUE)")
    if usage is None or not leaf.is_critical(x509.KeyUsage):
        yield wrong("key-usage", "the leaf's key usage is missing or not marked critical")
    if usage and usage.key_cert_sign:
        yield wrong("key-usage", "the leaf may sign certificates (key usage keyCertSign)")
    if usage and usage.crl_sign:
        yield wrong("key-usage", "the leaf may sign revocation lists (key usage cRLSign)")


def _usage_violations(path: Path, usage: Usage) -> Iterator[Violation]:
    """Yield who in the path may not be used in the role; no extended key usage at all allows every role.

    On an issuer the extension limits what it may issue for, and there anyExtendedKeyUsage counts.
    """
    key_usage = path[0].find(x509.KeyUsage)
    if key_usage and not key_usage.digital_signature:
        message = "the leaf may not sign a handshake (key usage digitalSignature is missing)"
        yield Violation("digital-signature", Alert.unsupported_certificate, message)
    for index, parsed in enumerate(path):
        allowed = parsed.find(x509.ExtendedKeyUsage)
        accepted = {usage.extended} | ({ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} if index else set())
        if allowed is not None and accepted.isdisjoint(allowed):
            who = "the leaf" if not index else f"the issuer {subject(parsed)}"
            message = (
                f"{who} is not for use as a {usage.value} (extended key usage {usage.value}Auth is missing)"
            )
            yield Violation("extended-key-usage", Alert.unsupported_certificate, message)


def _unknown_extensions(path: Path) -> Iterator[Violation]:
    for parsed in path:
        for oid in parsed.unknown_critical:
            message = f"the certificate of {subject(parsed)} has the unknown critical extension {oid}"
            yield Violation("unknown-critical-extension", Alert.certificate_unknown, message)


def _second_net(leaf: Parsed, pool: Sequence[Parsed], bundle: TrustBundle, now: datetime) -> list[Violation]:
    verifier = (
        PolicyBuilder()
        .store(bundle.store)
        .time(now)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=_CA_POLICY, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf.certificate, [parsed.certificate for parsed in pool])
    except VerificationError as error:
        message = f"path validation refuses the chain: {shown(str(error))}"
        return [Violation("path-validation", Alert.certificate_unknown, message)]
    return []


# The library asks issuers for clientAuth whatever the role; _usage_violations asks for the right one.
_CA_POLICY = ExtensionPolicy.webpki_defaults_ca().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None
)
