"""What stands in a file of certificates, for people: its content, and whether a node would accept it.

Values are as the file has them; whoever prints them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from pki import files, pem
from pki.bundle import TrustBundle
from pki.errors import FileError, SpiffeIdError, SvidError, Violation
from pki.parsed import UNREADABLE
from pki.spiffe import SpiffeId
from pki.svid import Usage, verify, violations

_NAMES = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ECDSA with SHA-256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ECDSA with SHA-384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ECDSA with SHA-512",
    SignatureAlgorithmOID.ECDSA_WITH_SHA1: "ECDSA with SHA-1 (refused)",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "RSA with SHA-256",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "RSA with SHA-384",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "RSA with SHA-512",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "RSA with SHA-1 (refused)",
    SignatureAlgorithmOID.RSA_WITH_MD5: "RSA with MD5 (refused)",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}
_KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "contentCommitment",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

Value = str | int | bool | list[str] | None
Description = dict[str, Value]


@dataclass(frozen=True)
class Report:
    """What a node makes of a chain: every violation per role, and the identity if there is none."""

    identity: SpiffeId | None
    found: Mapping[Usage, list[Violation]]

    @property
    def ok(self) -> bool:
        """Whether a node accepts the chain in every role asked about."""
        return not any(self.found.values())


def examine(path: Path, ca: Path, usages: Iterable[Usage]) -> Report:
    """Apply every rule to the chain in a PEM file, under the CA certificates of another. Raises ``FileError``."""
    bundle = TrustBundle.from_pem(files.read(ca), source=str(ca))
    try:
        chain = pem.certificates_der(files.read(path))
    except ValueError as error:
        raise FileError(path, f"is not readable PEM ({error})", "name a certificate's file") from error
    if not chain:
        raise FileError(path, "holds no PEM certificate", "name the certificate's file, such as tndrl.crt")
    found = {usage: violations(chain, bundle, usage) for usage in usages}
    identity = None
    for usage in found:
        try:
            identity = verify(chain, bundle, usage)
        except SvidError:
            continue
    return Report(identity, found)


def describe(path: Path) -> list[Description]:
    """Describe the certificates and requests of a PEM file in order; keys are never shown. Raises ``FileError``."""
    described = []
    for block in pem.blocks(files.read(path)):
        try:
            if block.label == "CERTIFICATE":
                described.append(describe_certificate(x509.load_der_x509_certificate(block.der)))
            elif block.label.endswith("CERTIFICATE REQUEST"):
                described.append(_request(x509.load_der_x509_csr(block.der)))
        except UNREADABLE as error:
            number = len(described) + 1
            raise FileError(path, f"entry {number} cannot be parsed ({error})", "issue a new one") from error
    if not described:
        raise FileError(
            path, "holds no PEM certificate or request", "name a file like tndrl.crt or tndrl.csr"
        )
    return described


def describe_certificate(certificate: x509.Certificate) -> Description:
    """Describe a certificate. Raises one of ``UNREADABLE`` if part of it cannot be read."""
    extensions = certificate.extensions
    return {
        "kind": "certificate",
        **_names(extensions),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "key": _key(certificate),
        "signature": _name(certificate.signature_algorithm_oid),
        **_usages(extensions),
        "serial": f"{certificate.serial_number:x}",
        "subject_key_id": _key_id(extensions, x509.SubjectKeyIdentifier),
        "authority_key_id": _key_id(extensions, x509.AuthorityKeyIdentifier),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _request(request: x509.CertificateSigningRequest) -> Description:
    return {
        "kind": "request",
        **_names(request.extensions),
        "subject": request.subject.rfc4514_string(),
        "key": _key(request),
        "signature_valid": request.is_signature_valid,
    }


def _names(extensions: x509.Extensions) -> Description:
    names = _find(extensions, x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return {
        "identity": _identity(uris),
        "uris": uris,
        "dns": names.get_values_for_type(x509.DNSName),
        "ips": [str(address) for address in names.get_values_for_type(x509.IPAddress)],
    }


def _identity(uris: list[str]) -> str | None:
    if len(uris) != 1:
        return None
    try:
        return str(SpiffeId.parse(uris[0]))
    except SpiffeIdError:
        return None


def _usages(extensions: x509.Extensions) -> Description:
    constraints = _find(extensions, x509.BasicConstraints)
    usage = _find(extensions, x509.KeyUsage)
    extended = _find(extensions, x509.ExtendedKeyUsage)
    return {
        "ca": constraints is not None and constraints.ca,
        "path_length": constraints.path_length if constraints else None,
        "key_usage": [name for field, name in _KEY_USAGES.items() if usage and getattr(usage, field)],
        "extended_key_usage": [_name(oid) for oid in extended or ()],
        "critical": [_title(extension.oid) for extension in extensions if extension.critical],
    }


def _title(oid: x509.ObjectIdentifier) -> str:
    known = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
    return next((kind.__name__ for kind in known if kind.oid == oid), oid.dotted_string)


def _name(oid: x509.ObjectIdentifier) -> str:
    return _NAMES.get(oid, oid.dotted_string)


def _key(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    try:
        key = holder.public_key()
    except UnsupportedAlgorithm:
        return "of an unknown kind"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def _key_id(
    extensions: x509.Extensions, kind: type[x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier]
) -> str | None:
    value = _find(extensions, kind)
    digest = value.key_identifier if value else None
    return digest.hex() if digest else None


def _find(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
