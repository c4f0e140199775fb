from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki import svid
from pki.alerts import Alert
from pki.errors import SvidError
from pki.svid import TrustBundle, Usage, verify, violations
from support import certs
from support.cost import timed


@pytest.fixture(scope="module")
def bundle() -> TrustBundle:
    return TrustBundle.from_pem(certs.world().ca_pem)


@pytest.mark.parametrize("usage", Usage)
@pytest.mark.parametrize("name", certs.BAD)
def test_bad(name: str, usage: Usage, bundle: TrustBundle) -> None:
    """Every bad certificate is refused in both roles with the alert of the table."""
    with pytest.raises(SvidError) as caught:
        verify(certs.BAD[name].chain_der(usage), bundle, usage)
    assert caught.value.alert is certs.BAD[name].alert(usage)


@pytest.mark.parametrize("usage", Usage)
@pytest.mark.parametrize("name", certs.BAD)
def test_our_rules_decide(name: str, usage: Usage, bundle: TrustBundle) -> None:
    """No bad certificate gets as far as the second net."""
    rules = {violation.rule for violation in violations(certs.BAD[name].chain_der(usage), bundle, usage)}
    assert rules
    assert "path-validation" not in rules


@pytest.mark.parametrize("usage", Usage)
@pytest.mark.parametrize("name", certs.GOOD)
def test_good(name: str, usage: Usage, bundle: TrustBundle) -> None:
    """Every good chain is accepted in both roles, and nothing at all is held against it."""
    chain = certs.GOOD[name].chain_der(usage)
    assert violations(chain, bundle, usage) == []
    assert verify(chain, bundle, usage).trust_domain == "tndrl"


def test_identity(bundle: TrustBundle) -> None:
    """What a chain proves is the identity in its leaf."""
    assert str(verify(certs.node_leaf("web").chain_der, bundle, Usage.CLIENT)) == "spiffe://tndrl/node/web"


def test_refused_identity_is_known(bundle: TrustBundle) -> None:
    """A refusal says which identity was claimed, for the log."""
    with pytest.raises(SvidError) as caught:
        verify(certs.node_leaf("web", end=-1, start=-9).chain_der, bundle, Usage.CLIENT)
    assert str(caught.value.spiffe_id) == "spiffe://tndrl/node/web"


def test_every_violation_is_reported(bundle: TrustBundle) -> None:
    """All broken rules are reported, the one that chooses the alert first."""
    made = certs.leaf(
        certs.world().stranger,
        ca=True,
        usage=["crl_sign"],
        eku=[certs.Eku.CODE_SIGNING],
        uris=(),
        start=-9,
        end=-1,
    )
    assert [violation.rule for violation in violations(made.chain_der, bundle, Usage.SERVER)] == [
        "unknown-ca",
        "expired",
        "leaf-is-ca",
        "key-usage",
        "uri-san",
        "digital-signature",
        "extended-key-usage",
    ]


@pytest.mark.parametrize(("offset", "valid"), [(-1, False), (0, True), (60, True), (61, False)])
def test_both_ends_are_valid(offset: int, valid: bool, bundle: TrustBundle) -> None:
    """A certificate is valid from its first to its last second, both included (RFC 5280 section 4.1.2.5)."""
    made = certs.leaf(start=0, end=60)
    now = made.certificate.not_valid_before_utc + timedelta(seconds=offset)
    assert (violations(made.chain_der, bundle, Usage.SERVER, now=now) == []) is valid


def test_not_yet_valid_root() -> None:
    """A root whose time has not come vouches for nobody."""
    root = certs.make_ca(start=3600)
    found = violations(certs.leaf(root).chain_der, TrustBundle.from_pem(root.pem), Usage.SERVER)
    assert found[0].alert is Alert.certificate_expired


def test_issuer_limited_to_another_role() -> None:
    """An issuer with extended key usages issues for those only, anyExtendedKeyUsage included."""
    root = certs.world().root
    bundle = TrustBundle.from_pem(root.pem)
    for eku, refused in ([certs.Eku.CLIENT_AUTH], True), ([certs.Eku.ANY_EXTENDED_KEY_USAGE], False):
        middle = certs.make_ca(root, name="Middle", eku=eku)
        found = violations(certs.leaf(middle).behind(middle).chain_der, bundle, Usage.SERVER)
        assert [violation.rule for violation in found] == ["extended-key-usage"] * refused


def test_a_sound_path_is_preferred() -> None:
    """Where one way to a root is forbidden and another is not, the chain is accepted."""
    narrow = certs.make_ca(name="Root", path_length=0)
    renewed = certs.make_ca(name="Root", private=narrow.key)
    below = certs.make_ca(renewed, name="Below")
    bundle = TrustBundle.from_pem(narrow.pem + renewed.pem)
    assert violations(certs.leaf(below).behind(below).chain_der, bundle, Usage.SERVER) == []


def test_second_net() -> None:
    """What only the library's path validation catches is refused with certificate_unknown."""
    constraints = certs.x509.NameConstraints([certs.x509.DNSName(".example.org")], None)
    root = certs.make_ca(extra=[(constraints, True)])
    found = violations(
        certs.leaf(root, dns=["a.example.org"]).chain_der, TrustBundle.from_pem(root.pem), Usage.SERVER
    )
    assert [(violation.rule, violation.alert) for violation in found] == [
        ("path-validation", Alert.certificate_unknown)
    ]


def test_usage() -> None:
    """The two roles are each other's opposite."""
    assert Usage.SERVER.opposite is Usage.CLIENT
    assert Usage.CLIENT.opposite is Usage.SERVER


def _mutations(base: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    mutated = bytearray(base)
    for where, cut, piece in edits:
        at = int(where * len(mutated))
        mutated[at : at + cut] = piece
    return bytes(mutated)


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 4), st.binary(max_size=4)),
    min_size=1,
    max_size=3,
)
FIELD = st.integers(0, 7)


def _fuzz(edits: Sequence[tuple[float, int, bytes]], field: int, bundle: TrustBundle) -> None:
    for base in certs.leaf(), certs.GOOD["one intermediate"].make(Usage.SERVER):
        assert base
        for index, der in enumerate(base.chain_der):
            mutated = _mutations(der, edits)
            chain = [mutated if number == index else other for number, other in enumerate(base.chain_der)]
            found = timed(lambda chain=chain: violations(chain, bundle, Usage.SERVER), chain)
            assert found or mutated == der
    signed = certs.resign(certs.leaf(), certs.world().root, lambda f: _mutate_field(f, field, edits))
    try:
        identity = timed(lambda: verify(signed.chain_der, bundle, Usage.SERVER), signed.chain_der)
    except SvidError:
        return
    assert identity.trust_domain == "tndrl"
    assert identity.path


def _mutate_field(fields: list[bytes], field: int, edits: Sequence[tuple[float, int, bytes]]) -> None:
    if field != certs.EXTENSIONS:
        fields[field] = _mutations(fields[field], edits)
        return
    extensions = certs.children(certs.children(fields[field])[0])
    chosen = len(edits[0][2]) % len(extensions)
    *head, value = certs.children(extensions[chosen])
    extensions[chosen] = certs.tlv(0x30, *head, certs.tlv(0x04, _mutations(value[2:], edits)))
    fields[field] = certs.tlv(0xA3, certs.tlv(0x30, *extensions))


@given(EDITS, FIELD)
@settings(max_examples=2500)
def test_fuzz(edits: Sequence[tuple[float, int, bytes]], field: int) -> None:
    """A mutated certificate (four for each example) raises nothing else and is never accepted unless signed anew."""
    _fuzz(edits, field, TrustBundle.from_pem(certs.world().ca_pem))


@pytest.mark.long
@pytest.mark.timeout(900)
@given(EDITS, FIELD)
@settings(max_examples=10_000)
def test_fuzz_long(edits: Sequence[tuple[float, int, bytes]], field: int) -> None:
    """Forty thousand mutated certificates likewise."""
    _fuzz(edits, field, TrustBundle.from_pem(certs.world().ca_pem))


@pytest.mark.serial
def test_good_chain_is_quick(bundle: TrustBundle) -> None:
    """A good chain of two certificates costs at most 5 ms of CPU at the 99th percentile."""
    chain = certs.GOOD["one intermediate"].chain_der(Usage.SERVER)
    times = []
    for _ in range(200):
        start = time.thread_time()
        verify(chain, bundle, Usage.SERVER)
        times.append(time.thread_time() - start)
    assert sorted(times)[197] <= 0.005


@pytest.mark.serial
@pytest.mark.parametrize("name", [name for name in certs.BAD if name[:6] in {"TLS-22", "TLS-36"}])
def test_junk_is_cheap(name: str, bundle: TrustBundle) -> None:
    """Junk intermediates, cycles and huge keys cost at most 50 ms of CPU."""
    chain = certs.BAD[name].chain_der(Usage.CLIENT)
    start = time.process_time()
    assert violations(chain, bundle, Usage.CLIENT)
    assert time.process_time() - start <= 0.05


def test_exports() -> None:
    """Who verifies finds everything that belongs to it in one module."""
    assert all(hasattr(svid, name) for name in svid.__all__)
