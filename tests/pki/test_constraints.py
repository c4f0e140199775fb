"""Name constraints: what a constraint means for each kind of name, and for whom it counts."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from pki.bundle import TrustBundle
from pki.constraints import constrains_uris, constraint_violations
from pki.parsed import Parsed
from pki.svid import Usage, violations
from support import certs

Uri, Dns, Ip = x509.UniformResourceIdentifier, x509.DNSName, x509.IPAddress


def net(text: str) -> Ip:
    """Return a constraint on addresses."""
    return Ip(ipaddress.ip_network(text))


def path(
    permitted: list[x509.GeneralName] | None,
    excluded: list[x509.GeneralName] | None = None,
    *,
    critical: bool = True,
    **names: object,
) -> tuple[Parsed, ...]:
    """Return a leaf with some names below an issuer with constraints."""
    issuer = certs.make_ca(extra=[(x509.NameConstraints(permitted, excluded), critical)])
    leaf = certs.leaf(issuer, **{"uris": ["spiffe://tndrl/node/a"], "dns": (), "ips": (), **names})
    return Parsed.from_der(leaf.der), Parsed.from_der(issuer.der)


def allowed(*arguments: object, **names: object) -> bool:
    """Return whether the leaf may be called what it is."""
    return list(constraint_violations(path(*arguments, **names))) == []


@pytest.mark.parametrize(
    ("constraint", "uri", "within"),
    [
        ("tndrl", "spiffe://tndrl/node/a", True),
        ("TNDRL", "spiffe://tndrl/node/a", True),
        ("tndr", "spiffe://tndrl/node/a", False),
        ("ndrl", "spiffe://tndrl/node/a", False),
        ("example.org", "spiffe://example.org/a", True),
        ("example.org", "spiffe://prod.example.org/a", False),
        (".example.org", "spiffe://prod.example.org/a", True),
        (".example.org", "spiffe://a.prod.example.org/a", True),
        (".example.org", "spiffe://example.org/a", False),
        (".example.org", "spiffe://badexample.org/a", False),
        ("example.org", "spiffe://example.org:443/a", True),
    ],
)
def test_uris(constraint: str, uri: str, within: bool) -> None:
    """A host is named exactly, a domain by a leading dot (RFC 5280 section 4.2.1.10)."""
    assert allowed([Uri(constraint)], uris=[uri]) is within
    assert allowed(None, [Uri(constraint)], uris=[uri]) is not within


@pytest.mark.parametrize(
    "uri", ["urn:a", "spiffe:///a", "spiffe://192.0.2.1/a", "spiffe://[2001:db8::1]/a", "spiffe://[/a"]
)
def test_uris_without_a_name(uri: str) -> None:
    """Where hosts are constrained, a URI without a host's name is refused, permitted or excluded alike."""
    assert not allowed([Uri("tndrl")], uris=[uri])
    assert not allowed(None, [Uri("tndrl")], uris=[uri])


def test_an_empty_constraint_allows_nothing() -> None:
    """What it would mean is nowhere said."""
    assert not allowed([Uri("")])
    assert not allowed(None, [Uri("")])
    assert not allowed([Dns("")], dns=["a.example"])


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("example.org", True),
        ("a.example.org", True),
        ("A.EXAMPLE.ORG", True),
        ("badexample.org", False),
        ("org", False),
    ],
)
def test_dns_names(name: str, within: bool) -> None:
    """A domain takes in itself and all below it."""
    assert allowed([Dns("example.org")], dns=[name]) is within
    assert allowed(None, [Dns("example.org")], dns=[name]) is not within


@pytest.mark.parametrize(
    ("address", "within"), [("192.0.2.7", True), ("192.0.3.7", False), ("2001:db8::1", False)]
)
def test_addresses(address: str, within: bool) -> None:
    """A network takes in its addresses."""
    assert allowed([net("192.0.2.0/24")], ips=[address]) is within
    assert allowed(None, [net("192.0.2.0/24")], ips=[address]) is not within


def test_excluded_goes_before_permitted() -> None:
    """A name that is both is excluded."""
    assert not allowed([Uri("tndrl")], [Uri("tndrl")])


def test_a_kind_without_a_constraint_is_free() -> None:
    """Constraints count for names of their own kind."""
    assert allowed([Dns("example.org")])
    assert allowed([Uri("tndrl")], dns=["anything.example"], ips=["192.0.2.1"])


@pytest.mark.parametrize("name", [x509.RFC822Name("example.org"), x509.DirectoryName(x509.Name([]))])
def test_what_is_not_understood(name: x509.GeneralName) -> None:
    """A critical constraint on other names is refused, whatever the leaf is called."""
    assert not allowed([Uri("tndrl"), name])
    assert not allowed([Uri("tndrl")], [name])
    assert allowed([Uri("tndrl"), name], critical=False)


def test_constraints_count_for_all_below() -> None:
    """An issuer's constraints bind the leaves of those it made issuers."""
    root = certs.make_ca(extra=[(x509.NameConstraints([Uri("elsewhere")], None), True)])
    middle = certs.make_ca(root, name="Middle")
    chain = certs.leaf(middle).behind(middle).chain_der
    found = violations(chain, TrustBundle.from_pem(root.pem), Usage.SERVER)
    assert [violation.rule for violation in found] == ["name-constraints"]


def test_a_leaf_constrains_nobody() -> None:
    """The extension means nothing in a certificate that issues none."""
    leaf = certs.leaf(extra=[(x509.NameConstraints([Uri("elsewhere")], None), True)])
    parsed = Parsed.from_der(leaf.der), Parsed.from_der(certs.world().root.der)
    assert list(constraint_violations(parsed)) == []


def test_whether_uris_are_constrained() -> None:
    """The library's own validation cannot read those constraints, and is left out where there are any."""
    assert constrains_uris(path([Uri("tndrl")]))
    assert constrains_uris(path(None, [Uri("tndrl")]))
    assert not constrains_uris(path([Dns("tndrl")]))
    assert not constrains_uris(path([Dns("tndrl")])[:1])
