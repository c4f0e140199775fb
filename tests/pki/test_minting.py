from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pki import minting
from pki.parsed import Parsed
from pki.spiffe import SpiffeId
from pki.svid import TrustBundle
from support import certs

NOW = minting.this_second()
KEY = minting.new_key()
ROOT = minting.root(KEY, SpiffeId("prod"), NOW)


def leaf(issuer: x509.Certificate = ROOT, name: str = "web") -> Parsed:
    names = [x509.UniformResourceIdentifier("spiffe://prod/node/web")]
    end = NOW + timedelta(hours=1)
    return Parsed.of(minting.leaf(issuer, KEY, minting.new_key().public_key(), name, names, NOW, end))


def test_root() -> None:
    """A root is a CA for leaves only, names its trust domain and lasts ten years."""
    root = Parsed.of(ROOT)
    assert root.find(x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    assert root.is_critical(x509.BasicConstraints)
    assert root.is_critical(x509.KeyUsage)
    assert root.find(x509.KeyUsage) == certs.key_usage(certs.CA_USAGE)
    assert root.uris == ["spiffe://prod"]
    assert ROOT.not_valid_after_utc - NOW == timedelta(days=3650)


def test_roots_have_names_of_their_own() -> None:
    """Two roots of one trust domain are told apart by name."""
    assert minting.root(minting.new_key(), SpiffeId("prod"), NOW).subject != ROOT.subject


def test_leaf() -> None:
    """A leaf follows the X509-SVID profile, for both roles."""
    parsed = leaf()
    assert parsed.find(x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)
    assert parsed.find(x509.KeyUsage) == certs.key_usage(certs.LEAF_USAGE)
    assert parsed.is_critical(x509.KeyUsage)
    assert list(parsed.find(x509.ExtendedKeyUsage) or ()) == list(certs.BOTH_EKU)
    assert parsed.issuer_key_id == Parsed.of(ROOT).key_id
    assert parsed.key_id


def test_backdated() -> None:
    """A certificate begins 60 s ago, for clocks that run behind (LIFE-13)."""
    assert NOW - leaf().certificate.not_valid_before_utc == timedelta(seconds=60)
    assert timedelta(seconds=60) == NOW - ROOT.not_valid_before_utc


def test_serial_numbers() -> None:
    """Serial numbers are long and random, so that none comes twice (TLS-57)."""
    numbers = {leaf().certificate.serial_number for _ in range(20)}
    assert len(numbers) == 20
    assert max(numbers).bit_length() > 100


@pytest.mark.parametrize(("length", "critical"), [(64, False), (65, True)])
def test_long_names(length: int, critical: bool) -> None:
    """A name too long for a common name leaves the subject empty and makes the other names critical."""
    parsed = leaf(name="n" * length)
    assert bool(parsed.certificate.subject.rdns) is not critical
    assert parsed.is_critical(x509.SubjectAlternativeName) is critical


def test_issuer_without_key_identifier() -> None:
    """Under a CA that does not say which key it has, the identifier is counted from the key."""
    bare = certs.resign(certs.make_ca(private=KEY), certs.make_ca(private=KEY), _drop_key_identifier)
    assert Parsed.of(bare.certificate).key_id is None
    assert leaf(bare.certificate).issuer_key_id == Parsed.of(ROOT).key_id


def _drop_key_identifier(fields: list[bytes]) -> None:
    extensions = certs.children(certs.children(fields[certs.EXTENSIONS])[0])
    kept = [one for one in extensions if b"\x55\x1d\x0e" not in one]
    fields[certs.EXTENSIONS] = certs.tlv(0xA3, certs.tlv(0x30, *kept))


def test_key_form() -> None:
    """Keys are P-256 in SEC1 PEM, the form that a Go node reads."""
    assert isinstance(KEY.curve, ec.SECP256R1)
    assert minting.sec1(KEY).startswith(b"-----BEGIN EC PRIVATE KEY-----\n")


def test_request() -> None:
    """A request carries the name and proves the key."""
    request = minting.request(KEY, "web")
    assert request.subject == minting.common_name("web")
    assert request.is_signature_valid


def test_root_is_a_bundle() -> None:
    """A root made here is one that nodes can trust."""
    pem = ROOT.public_bytes(certs.serialization.Encoding.PEM)
    assert TrustBundle.from_pem(pem).trust_domain == "prod"
