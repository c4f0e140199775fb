from __future__ import annotations

import pytest

from pki.bundle import TrustBundle
from pki.errors import FileError
from support import certs


@pytest.mark.parametrize(
    ("domain", "expected"), [("prod.example", "prod.example"), ("tndrl", "tndrl"), (None, "tndrl")]
)
def test_trust_domain(domain: str | None, expected: str) -> None:
    """The trust domain stands in the CA's URI name; a CA without one, as a Go node's, means tndrl."""
    assert TrustBundle.from_pem(certs.make_ca(domain=domain).pem).trust_domain == expected


def test_several_roots() -> None:
    """A bundle may hold several roots of one trust domain, expired ones too, and text around them."""
    data = b"the old one\r\n" + certs.world().ca_pem.replace(b"\n", b"\r\n")
    assert len(TrustBundle.from_pem(data).roots) == 2


def test_other_uris_are_no_trust_domain() -> None:
    """A URI name that is no SPIFFE ID says nothing about the trust domain."""
    root = certs.make_ca(uris=["https://ca.example/", "spiffe://prod"])
    assert TrustBundle.from_pem(root.pem).trust_domain == "prod"


def refused(data: bytes) -> FileError:
    with pytest.raises(FileError) as caught:
        TrustBundle.from_pem(data, source="/etc/ca.crt", key="pki.caCert")
    assert str(caught.value).startswith("pki.caCert: /etc/ca.crt: ")
    return caught.value


def test_roots_that_disagree() -> None:
    """Roots of two trust domains are refused, because an identity must have one home."""
    error = refused(certs.make_ca(domain="one").pem + certs.make_ca(domain="two").pem)
    assert "one, two" in str(error)


@pytest.mark.parametrize(
    "data",
    [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 100],
)
def test_no_certificate(data: bytes) -> None:
    """A file without readable certificates is refused."""
    assert "PEM" in refused(data).problem


@pytest.mark.parametrize(
    "uris",
    [
        ["spiffe://tndrl/node/a"],
        ["spiffe://one", "spiffe://two"],
        ["spiffe://tndrl", "spiffe://tndrl"],
        ["spiffe:tndrl"],
    ],
)
def test_bad_trust_domain(uris: list[str]) -> None:
    """A CA names at most one trust domain, without a path."""
    assert "trusted CA" in refused(certs.make_ca(uris=uris).pem).problem


@pytest.mark.parametrize("made", [certs.leaf, lambda: certs.make_ca(ca=None)])
def test_not_a_ca(made: object) -> None:
    """A certificate that is no CA's is refused at once, not when the first peer fails."""
    assert "is not a CA" in refused(made().pem).problem


def test_weak_root() -> None:
    """A root with a weak key is refused."""
    assert "1024 bits" in refused(certs.make_ca(private=certs.key("rsa1024")).pem).problem


def test_root_cannot_be_read_twice_differently() -> None:
    """The roots are read once, and handed to path validation as they are."""
    bundle = TrustBundle.from_pem(certs.world().ca_pem)
    assert bundle.parsed is bundle.parsed
    assert bundle.store is bundle.store
