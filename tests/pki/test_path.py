from __future__ import annotations

import pytest

from pki import path
from pki.parsed import Parsed
from support import certs


def parsed(*made: certs.Made) -> list[Parsed]:
    return [Parsed.from_der(one.der) for one in made]


def common_name(text: bytes) -> bytes:
    """Return a subject whose common name the library would refuse to build."""
    attribute = certs.tlv(0x30, bytes.fromhex("0603550403"), certs.tlv(0x0C, text))
    return certs.tlv(0x30, certs.tlv(0x31, attribute))


def paths(leaf: certs.Made, pool: list[certs.Made], roots: list[certs.Made]) -> list[int]:
    """Return the length of every path found."""
    found = path.find_paths(parsed(leaf)[0], parsed(*pool), parsed(*roots), path.memory_of_signatures())
    return [len(one) for one in found]


def test_direct() -> None:
    """A leaf under a root is a path of two."""
    assert paths(certs.leaf(), [], [certs.world().root]) == [2]


def test_any_order() -> None:
    """Intermediates may come in any order."""
    middles = certs.middles(3)
    assert paths(certs.leaf(middles[0]), middles[::-1], [certs.world().root]) == [5]


def test_cross_signed() -> None:
    """With two ways to a root both are found."""
    old, new = certs.make_ca(name="Old"), certs.make_ca(name="New")
    crossed = certs.make_ca(old, name="New", private=new.key)
    assert sorted(paths(certs.leaf(new), [crossed], [old, new])) == [2, 3]


def test_cycle_ends() -> None:
    """CAs that signed each other lead nowhere, and not for ever."""
    chain = certs.BAD["TLS-22 cycle"].make(certs.Usage.CLIENT)
    assert chain
    assert paths(chain, list(chain.intermediates), [certs.world().root]) == []


def test_signatures_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair of certificates costs one signature check, however often paths cross it."""
    asked = []
    monkeypatch.setattr(path, "_signed", lambda child, issuer: asked.append((child, issuer)) or True)
    leaf, *pool = parsed(certs.leaf(), *certs.middles(3))
    found = list(path.find_paths(leaf, pool, parsed(certs.world().root), path.memory_of_signatures()))
    assert len(found) == 16
    assert len(asked) == len(set(asked)) <= 4 * 4


def test_names_are_escaped() -> None:
    """A name that a stranger chose is printable when it stands in a message."""
    assert path.subject(parsed(certs.leaf(name="a\x1b[2J"))[0]) == r"'CN=a\x1b[2J'"


def test_unreadable_name() -> None:
    """A name that the library will not read is named as such."""
    odd = certs.resign(certs.leaf(), certs.world().root, certs._set(certs.SUBJECT, common_name(b"\xff")))
    assert path.subject(parsed(odd)[0]) == "'(an unreadable name)'"


def test_long_name() -> None:
    """A common name longer than X.520 allows, as Go nodes have it, is shown without a warning."""
    odd = certs.resign(certs.leaf(), certs.world().root, certs._set(certs.SUBJECT, common_name(b"n" * 80)))
    assert path.subject(parsed(odd)[0]) == f"'CN={'n' * 80}'"


def test_path_length_counts_cas_below() -> None:
    """A root with path length 1 stands one intermediate, not two."""
    root = certs.make_ca(path_length=1)
    one = certs.make_ca(root, name="One")
    two = certs.make_ca(one, name="Two")
    short = tuple(parsed(certs.leaf(one), one, root))
    long = tuple(parsed(certs.leaf(two), two, one, root))
    assert not list(path.issuer_violations(short))
    assert [violation.rule for violation in path.issuer_violations(long)] == ["issuer"]


def test_the_break_is_named() -> None:
    """Where the chain ends, the issuer that would have to be trusted is named."""
    middle = certs.make_ca(certs.world().stranger, name="Middle CA")
    signed = path.memory_of_signatures()
    violation = path.missing_path(
        *parsed(certs.leaf(middle)), parsed(middle), parsed(certs.world().root), signed
    )
    assert "CN=Stranger CA" in violation.message


def test_issuer_name_matters() -> None:
    """The right key under another name vouches for nobody (RFC 5280 section 6.1.3)."""
    root = certs.world().root
    renamed = certs.make_ca(name="Other", private=root.key)
    assert paths(certs.leaf(root), [], [renamed]) == []


def test_basic_constraints_without_ca() -> None:
    """CA:FALSE on an issuer is a violation, and so is a key usage without keyCertSign: both are reported."""
    issuer = certs.make_ca(ca=False, usage=["digital_signature"])
    found = list(path.issuer_violations(tuple(parsed(certs.leaf(issuer), issuer))))
    assert len(found) == 2
