"""Signatures for CertificateVerify, allowed by TLS 1.3 or not."""

from __future__ import annotations

from aioquic.tls import SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

HASHES: dict[int, type[hashes.HashAlgorithm]] = {
    SignatureAlgorithm.ECDSA_SECP256R1_SHA256: hashes.SHA256,
    SignatureAlgorithm.ECDSA_SECP384R1_SHA384: hashes.SHA384,
    SignatureAlgorithm.ECDSA_SECP521R1_SHA512: hashes.SHA512,
    SignatureAlgorithm.RSA_PSS_RSAE_SHA256: hashes.SHA256,
    SignatureAlgorithm.RSA_PKCS1_SHA256: hashes.SHA256,
    SignatureAlgorithm.RSA_PKCS1_SHA384: hashes.SHA384,
    SignatureAlgorithm.RSA_PKCS1_SHA512: hashes.SHA512,
}

PKCS1 = (
    SignatureAlgorithm.RSA_PKCS1_SHA256,
    SignatureAlgorithm.RSA_PKCS1_SHA384,
    SignatureAlgorithm.RSA_PKCS1_SHA512,
)


def scheme_of(key: CertificateIssuerPrivateKeyTypes) -> int:
    """Return the scheme that TLS 1.3 wants of ``key``."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {
            256: SignatureAlgorithm.ECDSA_SECP256R1_SHA256,
            384: SignatureAlgorithm.ECDSA_SECP384R1_SHA384,
            521: SignatureAlgorithm.ECDSA_SECP521R1_SHA512,
        }[key.key_size]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SignatureAlgorithm.ED25519
    if isinstance(key, ed448.Ed448PrivateKey):
        return SignatureAlgorithm.ED448
    return SignatureAlgorithm.RSA_PSS_RSAE_SHA256


def sign(
    key: CertificateIssuerPrivateKeyTypes, content: bytes, scheme: int | None = None
) -> tuple[int, bytes]:
    """Return ``scheme`` and a true signature of ``content`` by ``key``, however ill the two go together."""
    scheme = scheme_of(key) if scheme is None else scheme
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return scheme, key.sign(content)
    algorithm = HASHES[scheme]()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return scheme, key.sign(content, ec.ECDSA(algorithm))
    assert isinstance(key, rsa.RSAPrivateKey)
    if scheme in PKCS1:
        return scheme, key.sign(content, padding.PKCS1v15(), algorithm)
    pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
    return scheme, key.sign(content, pss, algorithm)
