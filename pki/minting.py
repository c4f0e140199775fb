"""The two certificates that are issued here, as data: a root and a node's leaf.

The leaf is what a Go node issues, plus the SPIFFE ID and real host names: CA:FALSE, critical key usage
digitalSignature and keyEncipherment, both extended usages, key identifiers. Keys are ECDSA P-256 in SEC1 PEM, the
only form that a Go node reads.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificateIssuerPublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.spiffe import SpiffeId

CA_LIFETIME = timedelta(days=3650)
BACKDATE = timedelta(seconds=60)
"""Certificates begin this long ago, so that a clock that runs behind accepts them."""

MAX_COMMON_NAME = 64
"""Characters; X.520's bound, which the library enforces."""


def root(key: ec.EllipticCurvePrivateKey, trust_domain: SpiffeId, now: datetime) -> x509.Certificate:
    """Return a self-signed CA of a trust domain: 10 years, path length 0, so it signs leaves only."""
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The key's identifier tells two CAs of one trust domain apart, for people and for path building.
    subject = common_name(f"Tndrl CA {own.digest.hex()[:8]}")
    names = [x509.UniformResourceIdentifier(str(trust_domain))]
    return (
        _builder(subject, subject, key.public_key(), now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(leaf=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )


def leaf(
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    key: CertificateIssuerPublicKeyTypes,
    name: str,
    names: list[x509.GeneralName],
    now: datetime,
    end: datetime,
) -> x509.Certificate:
    """Return a node's certificate with these alternative names, valid from a minute ago until ``end``."""
    subject = common_name(name) if len(name) <= MAX_COMMON_NAME else x509.Name([])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(subject, issuer.subject, key, now, end)
        .add_extension(_authority_key_identifier(issuer), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(leaf=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        # RFC 5280 section 4.1.2.6: without a subject the alternative names are critical.
        .add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
        .sign(issuer_key, hashes.SHA256())
    )


def request(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateSigningRequest:
    """Return a request that carries a node's name as common name and proves possession of the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    return builder.sign(key, hashes.SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def sec1(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as ``EC PRIVATE KEY`` PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def this_second() -> datetime:
    """Return the present as certificates can hold it."""
    return datetime.now(UTC).replace(microsecond=0)


def common_name(text: str) -> x509.Name:
    """Return a distinguished name that is a common name only, of at most 64 characters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificateIssuerPublicKeyTypes,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Name the issuer's key as the issuer's own certificate does: a foreign CA may count it another way."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        key_encipherment=leaf,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
