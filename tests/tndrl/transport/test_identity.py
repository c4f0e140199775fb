"""Who may be at the other end."""

from __future__ import annotations

import pytest
from cryptography.x509 import load_der_x509_certificate

from pki.alerts import Alert
from pki.spiffe import IdPattern, SpiffeId
from pki.svid import SvidError, Usage
from support import certs, streams
from tndrl.transport.identity import (
    ClientPolicy,
    ServerPolicy,
    UnexpectedIdentityError,
    server_name,
    unchanged,
)

BUNDLE = streams.credentials().bundle
CHAIN = certs.node_leaf("b", dns=["b.example"], ips=["192.0.2.1"]).chain_der
ID = SpiffeId.parse(streams.node_id("b"))


@pytest.mark.parametrize("allow", [(), ("spiffe://tndrl/node/*",), ("spiffe://tndrl/x", str(ID))])
def test_a_client_that_is_allowed(allow: tuple[str, ...]) -> None:
    """A valid certificate passes where nothing is said, or one of the patterns fits."""
    policy = ClientPolicy(BUNDLE, tuple(IdPattern.parse(glob) for glob in allow))
    assert policy.verify(CHAIN) == ID


def test_a_client_that_is_not_allowed() -> None:
    """A valid certificate that no pattern names is refused with access_denied."""
    policy = ClientPolicy(BUNDLE, (IdPattern.parse("spiffe://tndrl/node/a"),))
    with pytest.raises(UnexpectedIdentityError, match=r"not in server\.allow") as raised:
        policy.verify(CHAIN)
    assert raised.value.alert == Alert.access_denied
    assert (raised.value.expected, raised.value.actual) == ("spiffe://tndrl/node/a", str(ID))


@pytest.mark.parametrize("host", ["b.example", "192.0.2.1"])
def test_a_server_known_by_its_host(host: str) -> None:
    """Without an expected identity the certificate must name the host."""
    assert ServerPolicy(BUNDLE, host).verify(CHAIN) == ID


def test_a_server_with_another_host() -> None:
    """A certificate for another host is refused."""
    with pytest.raises(SvidError) as raised:
        ServerPolicy(BUNDLE, "c.example").verify(CHAIN)
    assert raised.value.alert == Alert.bad_certificate


def test_a_server_known_by_its_identity() -> None:
    """With an expected identity the host does not matter."""
    assert ServerPolicy(BUNDLE, "c.example", ID).verify(CHAIN) == ID


def test_a_server_that_is_somebody_else() -> None:
    """Another identity than expected is refused, even where the host name is right."""
    expected = SpiffeId.parse(streams.node_id("c"))
    with pytest.raises(UnexpectedIdentityError, match=r"expected .*node/c, the certificate says .*node/b"):
        ServerPolicy(BUNDLE, "b.example", expected).verify(CHAIN)


def test_each_role_has_its_usage() -> None:
    """A client's certificate is no server's, and the other way round."""
    for policy, usage in (
        (ClientPolicy(BUNDLE), Usage.CLIENT),
        (ServerPolicy(BUNDLE, "localhost"), Usage.SERVER),
    ):
        with pytest.raises(SvidError) as raised:
            policy.verify(certs.BAD["TLS-10"].chain_der(usage))
        assert raised.value.alert == Alert.unsupported_certificate


@pytest.mark.parametrize(
    ("host", "name"),
    [("b.example", "b.example"), ("192.0.2.1", None), ("::1", None), ("localhost", "localhost")],
)
def test_addresses_are_no_names(host: str, name: str | None) -> None:
    """SNI carries names only (RFC 6066 section 3)."""
    assert server_name(host) == name


def test_a_certificate_that_was_revoked() -> None:
    """Whoever keeps the list is asked for each valid certificate, by identity and serial number."""
    serial = load_der_x509_certificate(CHAIN[0]).serial_number
    for policy in (
        ClientPolicy(BUNDLE, is_revoked=lambda *who: who == (ID, serial)),
        ServerPolicy(BUNDLE, "c.example", ID, is_revoked=lambda *who: who == (ID, serial)),
    ):
        with pytest.raises(SvidError, match="was revoked") as raised:
            policy.verify(CHAIN)
        assert raised.value.alert == Alert.certificate_revoked
    assert ClientPolicy(BUNDLE, is_revoked=lambda *_: False).verify(CHAIN) == ID


def test_who_was_taken_for_the_peer_must_be_it() -> None:
    """A peer that was resumed by its ticket and then shows the certificate of somebody else is refused."""
    policy = ServerPolicy(BUNDLE, "b.example").verify
    assert unchanged(policy, ID)(CHAIN) == ID
    other = SpiffeId.parse(streams.node_id("c"))
    with pytest.raises(UnexpectedIdentityError, match=r"it was .*node/c before, .* says .*node/b") as raised:
        unchanged(policy, other)(CHAIN)
    assert raised.value.alert == Alert.access_denied
