from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pki.errors import FileError, RefusedError, SpiffeIdError
from pki.request import Request
from support import certs


def csr(
    path: Path,
    *,
    names: tuple[str, ...] = ("web",),
    uris: tuple[str, ...] = (),
    kind: str = "p256",
    change: Callable[[bytes], bytes] = lambda der: der,
) -> Path:
    """Write a request with these common names and URI names, encoded as ``change`` says."""
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if uris:
        extension = x509.SubjectAlternativeName(certs.alternative_names(uris, ["wanted.example"], []))
        builder = builder.add_extension(extension, critical=False)
    request = builder.sign(certs.key(kind), None if kind == "ed25519" else hashes.SHA256())
    text = certs.pem(change(request.public_bytes(Encoding.DER)))
    path.write_bytes(text.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tndrl.csr"


def test_name_and_key(path: Path) -> None:
    """A request asks for a name, its common name, with a key."""
    request = Request.read(csr(path))
    assert request.name("tndrl") == "web"
    assert request.public_key == certs.key("p256").public_key()


def test_identity(path: Path) -> None:
    """A request may ask with its SPIFFE ID, which counts before the common name."""
    assert Request.read(csr(path, names=(), uris=("spiffe://prod/node/db",))).name("prod") == "db"
    assert Request.read(csr(path, uris=("spiffe://prod/node/db",))).name("prod") == "db"


@pytest.mark.parametrize(
    "uris",
    [
        ("spiffe://elsewhere/node/web",),
        ("spiffe://tndrl/web",),
        ("spiffe://tndrl",),
        ("spiffe://tndrl/node/a/b",),
        ("spiffe://tndrl/node/a", "spiffe://tndrl/node/b"),
    ],
)
def test_other_identities(path: Path, uris: tuple[str, ...]) -> None:
    """Another trust domain, another path, or several identities are refused (TLS-57)."""
    with pytest.raises(RefusedError, match="request refused"):
        Request.read(csr(path, uris=uris)).name("tndrl")


def test_no_identity_at_all(path: Path) -> None:
    """A URI that is no SPIFFE ID is refused."""
    with pytest.raises(SpiffeIdError):
        Request.read(csr(path, uris=("https://tndrl/node/web",))).name("tndrl")


@pytest.mark.parametrize("names", [(), ("one", "two")])
def test_no_single_name(path: Path, names: tuple[str, ...]) -> None:
    """A request without an ID has exactly one common name."""
    with pytest.raises(RefusedError, match="one common name"):
        Request.read(csr(path, names=names)).name("tndrl")


def test_key_not_proven(path: Path) -> None:
    """A request whose signature is not by its key is refused: its sender may not have the key."""
    with pytest.raises(RefusedError, match="signature"):
        Request.read(csr(path, change=lambda der: der.replace(b"web", b"wob")))


@pytest.mark.parametrize("kind", ["rsa1024", "ed25519", "p521"])
def test_unsupported_key(path: Path, kind: str) -> None:
    """A key that no node would accept is refused."""
    with pytest.raises(RefusedError, match="key"):
        Request.read(csr(path, kind=kind))


@pytest.mark.parametrize(
    ("change", "problem"), [(lambda der: der[:-9], "cannot be parsed"), (lambda der: b"", "cannot be parsed")]
)
def test_unreadable(path: Path, change: Callable[[bytes], bytes], problem: str) -> None:
    """A request that cannot be read is an error of the file."""
    with pytest.raises(FileError, match=problem):
        Request.read(csr(path, change=change))


def test_no_request(path: Path) -> None:
    """A file without a request is named."""
    path.write_bytes(certs.leaf().pem)
    with pytest.raises(FileError, match="holds no PEM certificate request"):
        Request.read(path)
