from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from pki import credentials
from pki.errors import FileError
from support import certs


def load(directory: Path) -> credentials.Credentials:
    return credentials.load(directory / "tndrl.crt", directory / "tndrl.key", directory / "ca.crt")


def refusal(directory: Path) -> FileError:
    with pytest.raises(FileError) as caught:
        load(directory)
    return caught.value


@pytest.fixture
def made() -> certs.Made:
    return certs.leaf()


@pytest.fixture
def directory(tmp_path: Path, made: certs.Made) -> Path:
    return certs.write_pki_dir(tmp_path / "pki", made)


def key_bytes(made: certs.Made, form: PrivateFormat, password: bytes | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return made.key.private_bytes(Encoding.PEM, form, protection)


def test_load(directory: Path, made: certs.Made) -> None:
    """Three files that fit make credentials."""
    loaded = load(directory)
    assert str(loaded.spiffe_id) == certs.NODE
    assert loaded.chain == (made.certificate,)
    assert loaded.not_after == made.certificate.not_valid_after_utc
    assert loaded.bundle.trust_domain == "tndrl"


def test_repr_hides_the_key(directory: Path) -> None:
    """Credentials in a log show whose they are and no key."""
    assert "private" not in repr(load(directory))
    assert "/node/a" in repr(load(directory))


def test_chain_with_intermediates(tmp_path: Path) -> None:
    """A chain is read in order, and ends when its first certificate ends."""
    middle = certs.make_ca(certs.world().root, name="Middle", end=50 * certs.DAY)
    directory = certs.write_pki_dir(tmp_path, certs.leaf(middle).behind(middle))
    assert len(load(directory).chain) == 2
    assert load(directory).not_after == middle.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    "change",
    [
        lambda made: key_bytes(made, PrivateFormat.TraditionalOpenSSL),
        lambda made: key_bytes(made, PrivateFormat.PKCS8),
        lambda made: key_bytes(made, PrivateFormat.PKCS8).replace(b"\n", b"\r\n"),
        lambda made: key_bytes(made, PrivateFormat.TraditionalOpenSSL).replace(b"\n", b"\r\n"),
        lambda made: b"Key of node a\n" + made.key_pem + b"the end",
        lambda made: (
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + made.key_pem
        ),
        lambda made: made.pem + made.key_pem,
    ],
    ids=["SEC1", "PKCS#8", "CRLF", "SEC1 CRLF", "leading text", "parameters", "certificate before"],
)
def test_accepted_keys(directory: Path, made: certs.Made, change: Callable[[certs.Made], bytes]) -> None:
    """SEC1 and PKCS#8 are read, with either line ending and other text around."""
    (directory / "tndrl.key").write_bytes(change(made))
    assert load(directory).private_key.public_key() == made.key.public_key()


def test_accepted_certificates(directory: Path, made: certs.Made) -> None:
    """Certificates are read with text around them and CRLF."""
    (directory / "tndrl.crt").write_bytes(b"Certificate:\r\n" + made.pem.replace(b"\n", b"\r\n"))
    assert load(directory).chain == (made.certificate,)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda made: key_bytes(made, PrivateFormat.PKCS8, b"secret"), "is encrypted"),
        (lambda made: key_bytes(made, PrivateFormat.TraditionalOpenSSL, b"secret"), "is encrypted"),
        (lambda made: certs.leaf(private=certs.key("rsa2048")).key_pem, "PKCS#1"),
        (lambda made: made.key_pem.replace(b"EC ", b"DSA "), "of an unknown format"),
        (lambda made: certs.leaf(private=certs.key("ed25519")).key_pem, "neither ECDSA nor RSA"),
        (lambda made: made.pem, "holds no PEM private key"),
        (lambda made: b"", "holds no PEM private key"),
        (lambda made: made.key_pem.replace(b"M", b"N", 1), "cannot be parsed"),
        (lambda made: certs.leaf().key_pem, "does not belong to the certificate"),
    ],
)
def test_refused_keys(
    directory: Path, made: certs.Made, change: Callable[[certs.Made], bytes], problem: str
) -> None:
    """A key that cannot be used is refused with the file, the key and the cure (TLS-56)."""
    (directory / "tndrl.key").write_bytes(change(made))
    error = refusal(directory)
    assert problem in error.problem
    assert (error.key, error.path) == ("pki.key", directory / "tndrl.key")


def test_key_open_to_others(directory: Path) -> None:
    """A key that others may read is refused (TLS-56)."""
    (directory / "tndrl.key").chmod(0o644)
    assert "open to others (mode 0644)" in refusal(directory).problem


@pytest.mark.parametrize(
    ("name", "key"), [("tndrl.crt", "pki.cert"), ("tndrl.key", "pki.key"), ("ca.crt", "pki.caCert")]
)
def test_missing_file(directory: Path, name: str, key: str) -> None:
    """A missing file is named with its configuration key."""
    (directory / name).unlink()
    assert (refusal(directory).key, refusal(directory).path.name) == (key, name)


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"],
    ids=["empty", "text", "DER"],
)
@pytest.mark.parametrize(("name", "key"), [("tndrl.crt", "pki.cert"), ("ca.crt", "pki.caCert")])
def test_no_certificate(directory: Path, name: str, key: str, data: bytes) -> None:
    """A file without a readable certificate is named with its configuration key."""
    (directory / name).write_bytes(data)
    assert (refusal(directory).key, refusal(directory).path.name) == (key, name)


def test_bad_base64(directory: Path) -> None:
    """Broken base64 is an error of the file like any other."""
    (directory / "tndrl.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    assert "not base64" in refusal(directory).problem


def test_leaf_last(directory: Path) -> None:
    """A chain that starts with the issuer is refused, and the right order named (TLS-56)."""
    middle = certs.make_ca(certs.world().root, name="Middle")
    made = certs.leaf(middle)
    certs.write_pki_dir(directory, made)
    (directory / "tndrl.crt").write_bytes(middle.pem + made.pem)
    assert "wrong order: the key belongs to certificate 2" in refusal(directory).problem


def test_intermediates_mixed_up(directory: Path) -> None:
    """Intermediates in the wrong order are refused (TLS-56)."""
    chain = certs.middles(2)
    certs.write_pki_dir(directory, certs.leaf(chain[0]).behind(*reversed(chain)))
    assert "certificate 2 did not sign certificate 1" in refusal(directory).problem


@pytest.mark.parametrize("eku", certs.BOTH_EKU)
def test_one_role_only(directory: Path, eku: certs.x509.ObjectIdentifier) -> None:
    """A node is a server and a client, so its certificate must be good for both."""
    assert "not for use as a" in refusal(certs.write_pki_dir(directory, certs.leaf(eku=[eku]))).problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("TLS-02", "no trusted CA"),
        ("TLS-06", "expired"),
        ("TLS-24", "0 URI names"),
    ],
)
def test_own_certificate_is_bad(directory: Path, name: str, problem: str) -> None:
    """A certificate that peers would refuse is refused at the start."""
    chain = certs.BAD[name].make(certs.Usage.CLIENT)
    assert problem in refusal(certs.write_pki_dir(directory, chain)).problem
