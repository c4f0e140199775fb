from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509

from pki.alerts import Alert
from pki.errors import SvidError
from pki.parsed import MAX_CERTIFICATE_BYTES, Parsed, accepted_key
from support import certs


def refused(der: bytes) -> tuple[str, Alert]:
    """Return the rule and the alert by which a certificate is refused unread."""
    with pytest.raises(SvidError) as caught:
        Parsed.from_der(der)
    return caught.value.violations[0].rule, caught.value.alert


def test_reads_everything() -> None:
    """A readable certificate shows its names, its extensions and its key."""
    made = certs.leaf()
    parsed = Parsed.from_der(made.der)
    assert parsed.uris == [certs.NODE]
    assert parsed.is_critical(x509.KeyUsage)
    assert not parsed.is_critical(x509.ExtendedKeyUsage)
    assert parsed.issuer_key_id == Parsed.from_der(certs.world().root.der).key_id
    assert parsed.public_key == made.key.public_key()


def test_absent_extensions() -> None:
    """What is not there reads as none."""
    parsed = Parsed.from_der(certs.leaf(uris=(), dns=(), ips=(), eku=None, aki=False).der)
    assert parsed.uris == []
    assert parsed.find(x509.ExtendedKeyUsage) is None
    assert parsed.issuer_key_id is None


def test_unknown_critical() -> None:
    """Critical extensions that nobody here understands are listed."""
    made = certs.leaf(extra=[(certs.UNKNOWN_EXTENSION, True)])
    assert Parsed.from_der(made.der).unknown_critical == ["1.3.6.1.4.1.57264.99.1"]


def test_equal_only_to_itself() -> None:
    """Two readings of one certificate are two keys of a cache."""
    der = certs.leaf().der
    assert Parsed.from_der(der) != Parsed.from_der(der)


@pytest.mark.parametrize(
    "name", [name for name in certs.BAD if name.startswith("TLS-43") and "inter" not in name]
)
def test_malformed(name: str) -> None:
    """What cannot be read is bad_certificate, whatever the library raises for it."""
    assert refused(certs.BAD[name].chain_der(certs.Usage.CLIENT)[0]) == ("malformed", Alert.bad_certificate)


def _x400_address(fields: list[bytes]) -> None:
    names = certs.tlv(0x04, certs.tlv(0x30, certs.tlv(0xA3, b"")))
    _add_extension(fields, certs.tlv(0x30, bytes.fromhex("0603551d11"), names))


def _negative_issuer_serial(fields: list[bytes]) -> None:
    name = certs.tlv(0xA1, certs.tlv(0xA4, fields[certs.ISSUER]))
    value = certs.tlv(0x04, certs.tlv(0x30, name, certs.tlv(0x82, b"\x80")))
    _add_extension(fields, certs.tlv(0x30, bytes.fromhex("0603551d23"), value))


def _add_extension(fields: list[bytes], extension: bytes) -> None:
    extensions = certs.children(certs.children(fields[certs.EXTENSIONS])[0])
    fields[certs.EXTENSIONS] = certs.tlv(0xA3, certs.tlv(0x30, *extensions, extension))


def _unknown_key(fields: list[bytes]) -> None:
    fields[certs.PUBLIC_KEY] = certs.tlv(0x30, bytes.fromhex("300606042a030405"), b"\x03\x02\x00\x01")


@pytest.mark.parametrize("change", [_x400_address, _negative_issuer_serial, _unknown_key])
def test_what_the_library_cannot_read(change: Callable[[list[bytes]], None]) -> None:
    """Whatever else the library raises, or warns of where warnings are errors, is malformed."""
    made = certs.leaf(uris=(), dns=(), ips=(), aki=False)
    assert refused(certs.resign(made, certs.world().root, change).der)[0] == "malformed"


def test_version_is_named() -> None:
    """A certificate of another version is told so, not that it is no certificate."""
    with pytest.raises(SvidError, match="its version is not 3"):
        Parsed.from_der(certs.BAD["TLS-43 version 1"].chain_der(certs.Usage.CLIENT)[0])


@pytest.mark.parametrize("name", [name for name in certs.BAD if name.startswith("TLS-39")])
def test_weak_hashes(name: str) -> None:
    """SHA-1 and MD5 are refused before any signature is looked at."""
    leaf, issuer = certs.BAD[name].chain_der(certs.Usage.CLIENT)
    assert refused(issuer if "intermediate" in name else leaf)[0] == "signature-algorithm"


def test_every_truncation() -> None:
    """A certificate cut off at any byte is malformed."""
    der = certs.leaf().der
    assert {refused(der[:length]) for length in range(len(der))} == {("malformed", Alert.bad_certificate)}


def test_oversized() -> None:
    """A certificate over the limit is refused before it is parsed."""
    assert refused(b"\x30" * (MAX_CERTIFICATE_BYTES + 1))[0] == "malformed"


@pytest.mark.parametrize("serial", [b"\x00", b"\x80\x01", b"\xff", b"\x01" * 21, b"\x00" + b"\xff" * 20])
def test_serial_numbers(serial: bytes) -> None:
    """A serial number is positive and has at most 20 bytes (RFC 5280 section 4.1.2.2)."""
    change = certs._set(certs.SERIAL, certs.tlv(0x02, serial))
    assert refused(certs.resign(certs.leaf(), certs.world().root, change).der)[0] == "malformed"


@pytest.mark.parametrize("serial", [b"\x01", b"\x7f" + b"\xff" * 19])
def test_good_serial_numbers(serial: bytes) -> None:
    """The smallest and the largest serial number are read."""
    change = certs._set(certs.SERIAL, certs.tlv(0x02, serial))
    assert Parsed.from_der(certs.resign(certs.leaf(), certs.world().root, change).der)


def test_inner_and_outer_algorithm_differ() -> None:
    """The algorithm that is signed and the one beside the signature are the same (RFC 5280 section 4.1.1.2)."""
    made = certs.leaf()
    tbs, algorithm, signature = certs.children(made.der)
    other = replace(
        made, der=certs.tlv(0x30, tbs, algorithm.replace(b"\x04\x03\x02", b"\x04\x03\x03"), signature)
    )
    assert refused(other.der)[0] == "signature-algorithm"


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_accepted_keys(kind: str) -> None:
    """P-256, P-384 and RSA from 2048 bits are accepted."""
    key = certs.key(kind).public_key()
    assert accepted_key(key) is key


def test_largest_rsa_key() -> None:
    """RSA is accepted up to 8192 bits."""
    assert accepted_key(certs.random_rsa(8192))
    with pytest.raises(SvidError):
        accepted_key(certs.random_rsa(8200))


@pytest.mark.parametrize(
    ("kind", "alert"),
    [
        ("p521", Alert.unsupported_certificate),
        ("ed25519", Alert.unsupported_certificate),
        ("rsa1024", Alert.bad_certificate),
        ("rsa2047", Alert.bad_certificate),
    ],
)
def test_refused_keys(kind: str, alert: Alert) -> None:
    """A kind of key that is not supported is 43, a weak one 42."""
    with pytest.raises(SvidError) as caught:
        accepted_key(certs.key(kind).public_key())
    assert caught.value.alert is alert
