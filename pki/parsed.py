"""Certificates of strangers, read completely and safely.

The library reads lazily: a version, a key or an extension that cannot be read raises when it is first looked at,
each with an exception of its own. Here everything is read at once, in one place, after what is cheap to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

from pki.alerts import Alert
from pki.errors import SvidError, Violation

MAX_CERTIFICATE_BYTES = 16 * 1024
"""Far above any honest certificate (about 700 bytes), and cheap to parse."""

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_RSA_EXPONENT_BITS = 32

UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""What the library raises for what it cannot read; the warning counts where warnings are errors."""

_VERSION_3 = bytes.fromhex("a003020102")
_SIGNATURE_ALGORITHMS = frozenset(
    bytes.fromhex(identifier)
    for identifier in (
        "300a06082a8648ce3d040302",  # ecdsa-with-SHA256, SHA384, SHA512
        "300a06082a8648ce3d040303",
        "300a06082a8648ce3d040304",
        "300d06092a864886f70d01010b0500",  # sha256, sha384, sha512 WithRSAEncryption
        "300d06092a864886f70d01010c0500",
        "300d06092a864886f70d01010d0500",
    )
)
_KNOWN_EXTENSIONS = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, eq=False)
class Parsed:
    """A certificate all of whose parts that matter could be read; equal only to itself."""

    certificate: x509.Certificate
    public_key: PublicKey
    extensions: x509.Extensions

    @classmethod
    def from_der(cls, der: bytes) -> Parsed:
        """Read an encoded certificate; no signature is looked at. Raises ``SvidError``."""
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise _malformed(f"it has more than {MAX_CERTIFICATE_BYTES} bytes")
        _check_head(der)
        try:
            return cls.of(x509.load_der_x509_certificate(der))
        except UNREADABLE as error:
            raise _malformed("it cannot be parsed") from error

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Parsed:
        """Read a loaded certificate. Raises one of ``UNREADABLE``, and ``SvidError`` for its key."""
        return cls(certificate, accepted_key(certificate.public_key()), certificate.extensions)

    def find(self, kind: type[_Extension]) -> _Extension | None:
        """Return the extension of a kind, None if there is none."""
        extension = self._find(kind.oid)
        return extension.value if extension and isinstance(extension.value, kind) else None

    def is_critical(self, kind: type[x509.ExtensionType]) -> bool:
        """Whether the extension of a kind is there and marked critical."""
        extension = self._find(kind.oid)
        return extension is not None and extension.critical

    def _find(self, oid: x509.ObjectIdentifier) -> x509.Extension[x509.ExtensionType] | None:
        return next((extension for extension in self.extensions if extension.oid == oid), None)

    @property
    def uris(self) -> list[str]:
        """The URIs among the subject's alternative names."""
        names = self.find(x509.SubjectAlternativeName)
        return names.get_values_for_type(x509.UniformResourceIdentifier) if names else []

    @property
    def unknown_critical(self) -> list[str]:
        """Dotted identifiers of critical extensions that nobody here understands."""
        return [e.oid.dotted_string for e in self.extensions if e.critical and e.oid not in _KNOWN_EXTENSIONS]

    @property
    def issuer_key_id(self) -> bytes | None:
        """Which of its issuer's keys signed it, as far as it says."""
        authority = self.find(x509.AuthorityKeyIdentifier)
        return authority.key_identifier if authority else None

    @property
    def key_id(self) -> bytes | None:
        """The identifier of its own key, as far as it says."""
        subject = self.find(x509.SubjectKeyIdentifier)
        return subject.digest if subject else None


def accepted_key(key: object) -> PublicKey:
    """Return a public key if it is accepted: P-256, P-384, RSA of 2048 to 8192 bits. Raises ``SvidError``.

    The upper limits bound what a stranger's key can cost; Ed25519 and P-521 are unsupported because not every part
    of the stack (path validation, TLS) handles them.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if not isinstance(key, rsa.RSAPublicKey):
        message = "the key is of an unsupported kind (supported: ECDSA P-256 and P-384, RSA)"
        raise SvidError([Violation("key-kind", Alert.unsupported_certificate, message)])
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        problem = f"the RSA key has {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
    elif key.public_numbers().e.bit_length() > MAX_RSA_EXPONENT_BITS:
        problem = f"the RSA key's exponent has more than {MAX_RSA_EXPONENT_BITS} bits"
    else:
        return key
    raise SvidError([Violation("key-strength", Alert.bad_certificate, problem)])


def _malformed(problem: str) -> SvidError:
    return SvidError([Violation("malformed", Alert.bad_certificate, f"malformed certificate: {problem}")])


def _check_head(der: bytes) -> None:
    """Check version, serial number and signature algorithms before the library sees them.

    It accepts negative serial numbers and odd algorithm parameters with a process-wide warning, and SHA-1.
    """
    try:
        body, _ = _element(der, 0, 0x30)
        tbs, tbs_end = _element(der, body, 0x30)
        serial = tbs + len(_VERSION_3)
        if der[tbs:serial] != _VERSION_3:
            raise _malformed("its version is not 3")
        digits, serial_end = _element(der, serial, 0x02)
        inner = der[serial_end : _element(der, serial_end, 0x30)[1]]
        outer = der[tbs_end : _element(der, tbs_end, 0x30)[1]]
    except IndexError:
        raise _malformed("it is not DER, or is cut off") from None
    if not 0 < int.from_bytes(der[digits:serial_end], "big", signed=True) < 1 << 159:
        raise _malformed("its serial number is not positive, or longer than 20 bytes")
    if inner != outer or inner not in _SIGNATURE_ALGORITHMS:
        message = "the certificate is not signed with ECDSA or RSA (PKCS#1) and SHA-256, SHA-384 or SHA-512"
        raise SvidError([Violation("signature-algorithm", Alert.bad_certificate, message)])


def _element(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the DER element at ``at`` starts and ends; raise IndexError if it is not there."""
    if der[at] != tag:
        raise IndexError
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    if start + length > len(der):
        raise IndexError
    return start, start + length
