"""What a node proves itself with: its certificate chain, its key, and whom it trusts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pki import files, pem
from pki.bundle import TrustBundle
from pki.errors import FileError, SvidError
from pki.parsed import Parsed, PublicKey
from pki.path import memory_of_signatures, subject
from pki.spiffe import SpiffeId
from pki.svid import Usage, verify

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CERT, KEY, CA_CERT, CA_KEY = "pki.cert", "pki.key", "pki.caCert", "pki.caKey"
"""The configuration keys that name the files."""

_KEY_LABELS = {"EC PRIVATE KEY", "PRIVATE KEY"}


@dataclass(frozen=True)
class Credentials:
    """A node's own identity, complete and valid when it was loaded. ``chain`` is leaf first."""

    spiffe_id: SpiffeId
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    private_key: PrivateKey = field(repr=False)
    bundle: TrustBundle = field(repr=False)
    not_after: datetime


def load(cert: Path, key: Path, ca: Path) -> Credentials:
    """Read a node's three files and prove that they fit: to each other, to the CA, to both roles and to the clock.

    Raises ``FileError`` with the file, the configuration key and the cure.
    """
    bundle = TrustBundle.from_pem(files.read(ca, key=CA_CERT), source=str(ca), key=CA_CERT)
    chain = load_chain(cert, key=CERT)
    private_key = load_key(key, field=KEY)
    _check_match(cert, key, chain, private_key)
    _check_order(cert, chain)
    der = [parsed.certificate.public_bytes(Encoding.DER) for parsed in chain]
    try:
        spiffe_id, _ = [verify(der, bundle, usage) for usage in (Usage.SERVER, Usage.CLIENT)]
    except SvidError as error:
        cure = f"issue a new certificate, or check with: tndrl-pki verify '{cert}' --ca '{ca}'"
        raise FileError(cert, f"not valid under {ca}: {error}", cure, key=CERT) from error
    certificates = tuple(parsed.certificate for parsed in chain)
    not_after = min(certificate.not_valid_after_utc for certificate in certificates)
    return Credentials(spiffe_id, certificates, private_key, bundle, not_after)


def load_chain(path: Path, *, key: str | None = None) -> list[Parsed]:
    """Read the certificates of a PEM file in its order, at least one. Raises ``FileError`` with ``key``."""
    try:
        chain = [Parsed.from_der(der) for der in pem.certificates_der(files.read(path, key=key))]
    except (ValueError, SvidError) as error:
        raise FileError(path, f"unusable certificate: {error}", "issue a new one", key=key) from error
    if not chain:
        raise FileError(path, "holds no PEM certificate", "name the certificate's file", key=key)
    return chain


def load_key(path: Path, *, field: str | None = None) -> PrivateKey:
    """Read an unencrypted private key in PEM: SEC1 or PKCS#8, the first key in the file.

    The file must be closed to group and others (0600). Raises ``FileError`` with ``field`` as configuration key.
    """
    found = pem.blocks(files.read(path, key=field, private=True))
    block = next((block for block in found if block.label.endswith("PRIVATE KEY")), None)
    if block is None:
        raise FileError(path, "holds no PEM private key", "name the key's file", key=field)
    if block.label == "ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in block.body:
        cure = f"decrypt it: openssl pkcs8 -in '{path}' -out plain.key"
        raise FileError(path, "the private key is encrypted", cure, key=field)
    if block.label not in _KEY_LABELS:
        kind = "PKCS#1" if block.label == "RSA PRIVATE KEY" else "of an unknown format"
        cure = f"convert it to PKCS#8: openssl pkcs8 -topk8 -nocrypt -in '{path}' -out pkcs8.key"
        raise FileError(path, f"the private key is {kind} ({block.label})", cure, key=field)
    try:
        loaded = load_pem_private_key(block.text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FileError(path, "the private key cannot be parsed", "issue a new one", key=field) from error
    if not isinstance(loaded, PrivateKey):
        raise FileError(path, "the private key is neither ECDSA nor RSA", "issue a new one", key=field)
    return loaded


def public_bytes(key: PublicKey) -> bytes:
    """Return a public key's encoding, by which keys are compared."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_match(cert: Path, key: Path, chain: list[Parsed], private_key: PrivateKey) -> None:
    own = public_bytes(private_key.public_key())
    matching = [number for number, parsed in enumerate(chain, 1) if public_bytes(parsed.public_key) == own]
    if not matching:
        problem = f"the private key does not belong to the certificate in {cert}"
        raise FileError(key, problem, f"name the key of {subject(chain[0])}", key=KEY)
    if matching[0] != 1:
        problem = f"the chain is in the wrong order: the key belongs to certificate {matching[0]}"
        raise FileError(cert, problem, "put that first, then each one's issuer", key=CERT)


def _check_order(cert: Path, chain: list[Parsed]) -> None:
    signed = memory_of_signatures()
    for number, (child, issuer) in enumerate(itertools.pairwise(chain), 1):
        if not signed(child, issuer):
            problem = (
                f"the chain is in the wrong order: certificate {number + 1} did not sign certificate {number}"
            )
            raise FileError(cert, problem, "put the leaf first, then each one's issuer", key=CERT)
