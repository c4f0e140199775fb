from __future__ import annotations

import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pki import authority, credentials, files
from pki.authority import Authority
from pki.errors import FileError, PkiError, RefusedError, SpiffeIdError
from pki.files import PkiFiles
from pki.hosts import verify_host
from pki.parsed import Parsed
from support import certs


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    authority.init(tmp_path / "ca", "prod")
    return tmp_path / "ca"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def load(directory: Path, ca: Path) -> credentials.Credentials:
    return credentials.load(directory / "tndrl.crt", directory / "tndrl.key", ca / "ca.crt")


def test_init(ca: Path) -> None:
    """A new CA is two files, the key closed, in a closed directory."""
    assert names(ca) == ["ca.crt", "ca.key"]
    assert [mode(ca), mode(ca / "ca.key"), mode(ca / "ca.crt")] == [0o700, 0o600, 0o644]


def test_init_never_overwrites(ca: Path) -> None:
    """A CA's key is never overwritten, nor is its certificate (TLS-57)."""
    before = (ca / "ca.key").read_bytes(), (ca / "ca.crt").read_bytes()
    with pytest.raises(RefusedError, match=r"ca\.key exists already"):
        authority.init(ca)
    (ca / "ca.key").rename(ca / "away")
    with pytest.raises(RefusedError, match=r"ca\.crt exists already"):
        authority.init(ca)
    assert ((ca / "away").read_bytes(), (ca / "ca.crt").read_bytes()) == before
    assert names(ca) == ["away", "ca.crt"]


def test_init_checks_the_trust_domain(tmp_path: Path) -> None:
    """A trust domain that is none makes no CA."""
    with pytest.raises(SpiffeIdError):
        authority.init(tmp_path / "ca", "Prod")
    assert names(tmp_path) == []


def test_issue(ca: Path) -> None:
    """What is issued loads as credentials of the node, in both roles."""
    grant = authority.issue(ca, "web")
    assert str(load(ca, ca).spiffe_id) == str(grant.spiffe_id) == "spiffe://prod/node/web"
    assert grant.path == ca / "tndrl.crt"
    assert mode(ca / "tndrl.key") == 0o600


def test_issue_elsewhere(ca: Path, tmp_path: Path) -> None:
    """A node's files go where they are told, and the CA's key stays where it is."""
    authority.issue(ca, "web", out=tmp_path / "new" / "web")
    assert names(tmp_path / "new" / "web") == ["tndrl.crt", "tndrl.key"]


def test_issue_names(ca: Path) -> None:
    """A certificate is for the local names and for those asked for."""
    grant = authority.issue(ca, "web", dns=["Web.example"], ips=["192.0.2.7"])
    for host in ("localhost", "127.0.0.1", "::1", "web.example", "192.0.2.7"):
        verify_host(grant.certificate, host)


def test_issue_never_overwrites(ca: Path) -> None:
    """A node's files are never overwritten."""
    authority.issue(ca, "web")
    before = (ca / "tndrl.key").read_bytes()
    with pytest.raises(RefusedError, match="exists already"):
        authority.issue(ca, "web")
    assert (ca / "tndrl.key").read_bytes() == before


def test_concurrent_issue(ca: Path, tmp_path: Path) -> None:
    """Of many that issue into one directory one wins, and key and certificate are both its own (TLS-57)."""
    granted: list[authority.Grant] = []

    def issue(number: int) -> None:
        try:
            granted.append(authority.issue(ca, f"n{number}", out=tmp_path / "out"))
        except RefusedError:
            return

    threads = [threading.Thread(target=issue, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [load(tmp_path / "out", ca).spiffe_id] == [grant.spiffe_id for grant in granted]


def test_default_lifetime(ca: Path) -> None:
    """A node's certificate lasts a year from now."""
    certificate = authority.issue(ca, "web").certificate
    span = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert span == timedelta(days=365, seconds=60)


@pytest.mark.parametrize(
    "lifetime", [timedelta(days=3651), timedelta(days=999_999), timedelta(), timedelta(-1)]
)
def test_lifetime_bounds(ca: Path, lifetime: timedelta) -> None:
    """A lifetime is positive and ends with the CA's at the latest (TLS-57)."""
    with pytest.raises(RefusedError, match="lifetime"):
        authority.issue(ca, "web", lifetime=lifetime)
    assert names(ca) == ["ca.crt", "ca.key"]


def write_ca(directory: Path, made: certs.Made) -> Path:
    directory.mkdir()
    (directory / "ca.crt").write_bytes(made.pem)
    (directory / "ca.key").touch(mode=0o600)
    (directory / "ca.key").write_bytes(made.key_pem)
    return directory


def test_ca_about_to_end(tmp_path: Path) -> None:
    """A CA that ends within a day says how many seconds it can still give."""
    ca = write_ca(tmp_path / "ca", certs.make_ca(end=1000))
    with pytest.raises(RefusedError, match=r"--lifetime \d+s"):
        authority.issue(ca, "web")
    assert authority.issue(ca, "web", lifetime=timedelta(seconds=900))


def test_expired_ca(tmp_path: Path) -> None:
    """A CA that has expired issues nothing."""
    with pytest.raises(RefusedError, match="expired"):
        authority.issue(write_ca(tmp_path / "ca", certs.make_ca(start=-100, end=-1)), "web")


def test_unfit_ca(tmp_path: Path) -> None:
    """A CA whose certificates every node would refuse issues none."""
    with pytest.raises(RefusedError, match="every node would refuse"):
        authority.issue(write_ca(tmp_path / "ca", certs.make_ca(usage=["crl_sign"])), "web")


def test_ca_of_another_make(tmp_path: Path) -> None:
    """A CA without a trust domain, as a Go node's, issues for tndrl."""
    ca = write_ca(tmp_path / "ca", certs.make_ca(domain=None))
    assert str(authority.issue(ca, "web").spiffe_id) == "spiffe://tndrl/node/web"


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
def test_issue_checks_the_name(ca: Path, name: str) -> None:
    """A name is one path segment of a SPIFFE ID."""
    with pytest.raises(SpiffeIdError):
        authority.issue(ca, name)


def test_long_name(ca: Path) -> None:
    """A name longer than a common name may be is fine."""
    assert load(ca, ca) if authority.issue(ca, "n" * 500) else None


def test_key_of_another_ca(ca: Path, tmp_path: Path) -> None:
    """A CA's key and certificate belong together."""
    authority.init(tmp_path / "other")
    with pytest.raises(FileError, match="does not belong"):
        Authority.load(ca / "ca.crt", tmp_path / "other" / "ca.key")


def test_the_key_finds_its_certificate(ca: Path, tmp_path: Path) -> None:
    """While a CA is being replaced its file holds two certificates."""
    authority.init(tmp_path / "new", "prod")
    both = (ca / "ca.crt").read_bytes() + (tmp_path / "new" / "ca.crt").read_bytes()
    (tmp_path / "new" / "ca.crt").write_bytes(both)
    authority.issue(tmp_path / "new", "web")
    assert str(load(tmp_path / "new", tmp_path / "new").spiffe_id) == "spiffe://prod/node/web"


def test_open_ca_key(ca: Path) -> None:
    """A CA key that others may read is not used."""
    (ca / "ca.key").chmod(0o644)
    with pytest.raises(FileError, match="open to others"):
        authority.issue(ca, "web")


def test_csr_and_sign(ca: Path, tmp_path: Path) -> None:
    """A node makes its key and a request, the CA signs it, and the two meet again."""
    request = authority.make_csr("web", tmp_path / "web")
    assert names(tmp_path / "web") == ["tndrl.csr", "tndrl.key"]
    authority.sign(
        request, ca, tmp_path / "web" / "tndrl.crt", dns=["web.example"], lifetime=timedelta(hours=1)
    )
    assert str(load(tmp_path / "web", ca).spiffe_id) == "spiffe://prod/node/web"
    assert mode(tmp_path / "web" / "tndrl.key") == 0o600


def test_sign_takes_key_and_name_only(ca: Path, tmp_path: Path) -> None:
    """Names, usages and CA rights that a request asks for are not granted."""
    key = certs.key("p256")
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")])
    )
    for extension in (
        x509.BasicConstraints(ca=True, path_length=None),
        certs.key_usage(certs.CA_USAGE),
        x509.SubjectAlternativeName([x509.DNSName("bank.example")]),
    ):
        builder = builder.add_extension(extension, critical=True)
    request = builder.sign(key, certs.hashes.SHA256())
    (tmp_path / "csr").write_bytes(request.public_bytes(certs.serialization.Encoding.PEM))
    signed = Parsed.of(authority.sign(tmp_path / "csr", ca, tmp_path / "crt").certificate)
    assert signed.public_key == key.public_key()
    assert b"bank" not in signed.certificate.public_bytes(certs.serialization.Encoding.DER)
    assert signed.find(x509.KeyUsage) == certs.key_usage(certs.LEAF_USAGE)


def test_sign_never_overwrites(ca: Path, tmp_path: Path) -> None:
    """A certificate that stands is not overwritten."""
    request = authority.make_csr("web", tmp_path)
    authority.sign(request, ca, tmp_path / "crt")
    with pytest.raises(RefusedError, match="exists already"):
        authority.sign(request, ca, tmp_path / "crt")


@pytest.mark.parametrize("name", ["n" * 65, "a/b", ""])
def test_csr_names(tmp_path: Path, name: str) -> None:
    """A name in a request is a path segment of at most 64 characters."""
    with pytest.raises(PkiError):
        authority.make_csr(name, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("365d", timedelta(365)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(0, 90)),
    ],
)
def test_lifetimes(text: str, expected: timedelta) -> None:
    """A lifetime is a number and a unit."""
    assert authority.parse_lifetime(text) == expected


@pytest.mark.parametrize(
    "text", ["", "d", "365", "1w", "-1d", "0d", "1.5d", "1 d", "\u0661d", "9999999d", "1d\n"]
)
def test_bad_lifetimes(text: str) -> None:
    """What is no lifetime is refused."""
    with pytest.raises(RefusedError):
        authority.parse_lifetime(text)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "names_of_this_host", lambda: (["here.example"], ["192.0.2.9"]))


def ensure(directory: Path, **more: object) -> list[str]:
    return [path.name for path in authority.ensure(directory, "web", ["also.example"], [], **more)]


@pytest.mark.usefixtures("here")
def test_ensure_from_nothing(tmp_path: Path) -> None:
    """Where nothing is, everything is made, and the certificate is for this host's names."""
    assert ensure(tmp_path / "pki") == ["ca.crt", "ca.key", "tndrl.key", "tndrl.crt"]
    leaf = load(tmp_path / "pki", tmp_path / "pki").chain[0]
    for host in ("here.example", "192.0.2.9", "also.example", "localhost"):
        verify_host(leaf, host)


@pytest.mark.usefixtures("here")
def test_ensure_again(tmp_path: Path) -> None:
    """Where everything is, nothing is made and the CA's key is not needed."""
    ensure(tmp_path)
    (tmp_path / "ca.key").unlink()
    assert ensure(tmp_path) == []


@pytest.mark.usefixtures("here")
def test_ensure_with_a_ca(ca: Path) -> None:
    """Under a CA that is there a node's certificate is issued."""
    assert ensure(ca) == ["tndrl.key", "tndrl.crt"]
    assert str(load(ca, ca).spiffe_id) == "spiffe://prod/node/web"


@pytest.mark.usefixtures("here")
def test_ensure_with_a_key(ca: Path) -> None:
    """A key that is there is kept, and gets its certificate."""
    authority.issue(ca, "web")
    (ca / "tndrl.crt").unlink()
    assert ensure(ca) == ["tndrl.crt"]
    assert load(ca, ca)


@pytest.mark.usefixtures("here")
def test_ensure_elsewhere(tmp_path: Path) -> None:
    """Files that are configured one by one are made where they belong."""
    where = PkiFiles(
        tmp_path / "a/ca.crt", tmp_path / "b/ca.key", tmp_path / "c/node.crt", tmp_path / "d/node.key"
    )
    assert ensure(tmp_path, where=where) == ["ca.crt", "ca.key", "node.key", "node.crt"]
    assert credentials.load(where.cert, where.key, where.ca_cert)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("missing", "named"),
    [("tndrl.key", "tndrl.key"), ("ca.crt", "ca.key")],
    ids=["node key", "CA certificate"],
)
def test_ensure_with_halves(ca: Path, missing: str, named: str) -> None:
    """Half of a pair that only its lost other half could complete is an error, not a new pair."""
    authority.issue(ca, "web")
    (ca / missing).unlink()
    before = names(ca)
    with pytest.raises(FileError) as caught:
        ensure(ca)
    assert caught.value.path.name == named
    assert names(ca) == before


@pytest.mark.usefixtures("here")
def test_ensure_certificate_without_ca(ca: Path) -> None:
    """A node's certificate without any CA is an error too."""
    authority.issue(ca, "web")
    (ca / "ca.crt").unlink()
    (ca / "ca.key").unlink()
    with pytest.raises(FileError, match=r"tndrl\.crt: exists, but the CA certificate"):
        ensure(ca)


@pytest.mark.usefixtures("here")
def test_ensure_without_ca_key(ca: Path) -> None:
    """Where a certificate has to be issued the CA's key is needed, and named."""
    (ca / "ca.key").unlink()
    with pytest.raises(FileError) as caught:
        ensure(ca)
    assert caught.value.key == "pki.caKey"


@pytest.mark.usefixtures("here")
def test_ensure_at_once(tmp_path: Path) -> None:
    """Nodes that start together over one directory agree on one CA and one certificate."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(ensure(tmp_path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["ca.crt", "ca.key", "tndrl.crt", "tndrl.key"]
    assert load(tmp_path, tmp_path)


def test_disk_says_no(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a certificate whose key could not be written."""

    def refuse(*_: object) -> None:
        raise FileError(ca, "full", "make room")

    monkeypatch.setattr(files, "_write_temporary", refuse)
    with pytest.raises(FileError):
        authority.issue(ca, "web")
    assert names(ca) == ["ca.crt", "ca.key"]
