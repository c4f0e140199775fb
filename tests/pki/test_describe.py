from __future__ import annotations

from pathlib import Path

import pytest

from pki import authority
from pki.describe import describe, examine
from pki.errors import FileError
from pki.svid import Usage
from support import certs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return certs.write_pki_dir(tmp_path)


def test_certificate(directory: Path) -> None:
    """A description has everything a person asks about a certificate."""
    (found,) = describe(directory / "tndrl.crt")
    expected = {
        "kind": "certificate",
        "identity": certs.NODE,
        "uris": [certs.NODE],
        "dns": ["localhost"],
        "ips": ["127.0.0.1", "::1"],
        "subject": "CN=leaf",
        "issuer": "CN=Test CA",
        "key": "ECDSA secp256r1",
        "signature": "ECDSA with SHA-256",
        "ca": False,
        "path_length": None,
        "key_usage": ["digitalSignature", "keyEncipherment"],
        "extended_key_usage": ["serverAuth", "clientAuth"],
        "critical": ["BasicConstraints", "KeyUsage"],
    }
    assert {name: found[name] for name in expected} == expected
    assert {"not_before", "not_after", "serial", "subject_key_id", "authority_key_id", "sha256"} < set(found)


def test_several(directory: Path) -> None:
    """Every certificate of a file is described, in order."""
    assert [one["subject"] for one in describe(directory / "ca.crt")] == ["CN=Test CA", "CN=Expired CA"]


def test_request(tmp_path: Path) -> None:
    """A request is described too, before anybody signs it."""
    (found,) = describe(authority.make_csr("web", tmp_path))
    assert (found["kind"], found["subject"], found["signature_valid"]) == ("request", "CN=web", True)


@pytest.mark.parametrize("name", [name for name in certs.BAD if name[:6] not in {"TLS-01", "TLS-43"}])
def test_bad_certificates(tmp_path: Path, name: str) -> None:
    """What nodes refuse can still be looked at."""
    made = certs.BAD[name].make(Usage.CLIENT)
    assert made
    (tmp_path / "f").write_bytes(made.chain_pem)
    assert len(describe(tmp_path / "f")) == len(made.chain_der)


def test_other_keys(tmp_path: Path) -> None:
    """Keys that nodes do not support are named."""
    for kind, expected in ("ed25519", "Ed25519"), ("p521", "ECDSA secp521r1"), ("rsa2048", "RSA 2048"):
        (tmp_path / "f").write_bytes(certs.leaf(private=certs.key(kind)).pem)
        assert describe(tmp_path / "f")[0]["key"] == expected


def test_unknown_key(tmp_path: Path) -> None:
    """A key of a kind that the library does not know is said to be so."""

    def change(fields: list[bytes]) -> None:
        fields[certs.PUBLIC_KEY] = certs.tlv(0x30, bytes.fromhex("300606042a030405"), b"\x03\x02\x00\x01")

    (tmp_path / "f").write_bytes(certs.resign(certs.leaf(), certs.world().root, change).pem)
    assert describe(tmp_path / "f")[0]["key"] == "of an unknown kind"


@pytest.mark.parametrize(
    ("uris", "identity"), [((), None), (("https://a",), None), (("spiffe://a/b",), "spiffe://a/b")]
)
def test_identity(tmp_path: Path, uris: tuple[str, ...], identity: str | None) -> None:
    """The identity is the one well-formed SPIFFE ID, if there is one."""
    (tmp_path / "f").write_bytes(certs.leaf(uris=uris, dns=(), ips=()).pem)
    assert describe(tmp_path / "f")[0]["identity"] == identity


def test_unparsable(tmp_path: Path) -> None:
    """An entry that cannot be parsed is an error that says which."""
    (tmp_path / "f").write_bytes(certs.leaf().pem + certs.pem(b"junk"))
    with pytest.raises(FileError, match="entry 2 cannot be parsed"):
        describe(tmp_path / "f")


@pytest.mark.parametrize("name", ["TLS-43 version 9", "TLS-43 duplicate extension", "TLS-43 truncated"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    """Whatever the library raises for what it cannot read is an error of the file."""
    (tmp_path / "f").write_bytes(certs.pem(certs.BAD[name].chain_der(Usage.CLIENT)[0]))
    with pytest.raises(FileError, match="cannot be parsed"):
        describe(tmp_path / "f")


def test_nothing_to_describe(directory: Path) -> None:
    """A private key is never shown."""
    with pytest.raises(FileError, match="holds no PEM certificate or request"):
        describe(directory / "tndrl.key")


def test_examine_valid(directory: Path) -> None:
    """A good chain is valid in every role asked about, and its identity is known."""
    report = examine(directory / "tndrl.crt", directory / "ca.crt", Usage)
    assert report.ok
    assert str(report.identity) == certs.NODE


def test_examine_one_role(directory: Path) -> None:
    """A certificate may be good in one role and bad in the other."""
    certs.write_pki_dir(directory, certs.leaf(eku=[certs.Eku.CLIENT_AUTH]))
    report = examine(directory / "tndrl.crt", directory / "ca.crt", Usage)
    assert {usage: len(found) for usage, found in report.found.items()} == {Usage.SERVER: 1, Usage.CLIENT: 0}
    assert not report.ok


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "holds no PEM"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "not readable PEM"),
    ],
)
def test_examine_no_certificate(directory: Path, data: bytes, problem: str) -> None:
    """A file without certificates is an error, not a violation."""
    (directory / "tndrl.crt").write_bytes(data)
    with pytest.raises(FileError, match=problem):
        examine(directory / "tndrl.crt", directory / "ca.crt", Usage)
