from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.errors import SpiffeIdError
from pki.spiffe import IdPattern, SpiffeId, node_id, parse_trust_domain
from support.cost import timed

LONGEST = "spiffe://tndrl/" + "a" * (2048 - 15)


@pytest.mark.parametrize(
    "text",
    ["spiffe://tndrl", "spiffe://tndrl/node/a", "spiffe://a.b-c_9/x/Y.z/-_", "spiffe://tndrl/...", LONGEST],
)
def test_well_formed(text: str) -> None:
    """A well-formed ID is read and written back unchanged."""
    assert str(SpiffeId.parse(text)) == text


def test_parts() -> None:
    """An ID has a trust domain and a path that starts with a slash."""
    assert SpiffeId.parse("spiffe://tndrl/node/a") == SpiffeId("tndrl", "/node/a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tndrl/node/a",
        "https://tndrl/node/a",
        "Spiffe://tndrl/node/a",
        "spiffe:/tndrl/node/a",
        "spiffe://",
        "spiffe:///node/a",
        "spiffe://TNDRL/node/a",
        "spiffe://tndrl:443/node/a",
        "spiffe://me@tndrl/node/a",
        "spiffe://tn%64rl/node/a",
        "spiffe://tndrl\u00e4/a",
        "spiffe://" + "a" * 256 + "/node/a",
        "spiffe://tndrl/",
        "spiffe://tndrl/node/",
        "spiffe://tndrl//a",
        "spiffe://tndrl/./a",
        "spiffe://tndrl/node/..",
        "spiffe://tndrl/node/%61",
        "spiffe://tndrl/node/a\0",
        "spiffe://tndrl/node/a\n",
        "spiffe://tndrl/node/a b",
        "spiffe://tndrl/node/\u00e4",
        "spiffe://tndrl/node/\u0661",
        "spiffe://tndrl/node/a?b",
        "spiffe://tndrl/node/a#b",
        LONGEST + "a",
    ],
)
def test_malformed(text: str) -> None:
    """Whatever breaks a rule of the SPIFFE-ID specification is refused, and repeated shortened."""
    with pytest.raises(SpiffeIdError) as caught:
        SpiffeId.parse(text)
    assert len(str(caught.value)) < 300


def test_constructor_checks_too() -> None:
    """An ID that breaks a rule cannot be made from its parts either."""
    with pytest.raises(SpiffeIdError):
        SpiffeId("tndrl", "node/a")


@given(st.text(max_size=60).map(lambda text: "spiffe://" + text) | st.text(max_size=60))
@settings(max_examples=10_000)
def test_fuzz(text: str) -> None:
    """Any text is either refused or one that follows the rules letter by letter."""
    try:
        identity = timed(lambda: SpiffeId.parse(text), text)
    except SpiffeIdError:
        return
    assert str(identity) == text
    assert text.isascii()
    assert not set(text) & set(" %?#@\\\0")
    assert "//" not in identity.path


@pytest.mark.long
@pytest.mark.timeout(300)
@given(st.text(alphabet="spifetndrl:/.-_%?#@ aA1\0\u00e4", max_size=80))
@settings(max_examples=50_000)
def test_fuzz_long(text: str) -> None:
    """Texts made of the letters that matter are refused or follow the rules."""
    test_fuzz.hypothesis.inner_test(text)
    test_fuzz.hypothesis.inner_test("spiffe://" + text)


def test_node_id() -> None:
    """A node's ID is its name under /node/."""
    assert str(node_id("prod", "web-1")) == "spiffe://prod/node/web-1"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a%", "\u00e4", "a" * 2048])
def test_node_names(name: str) -> None:
    """A node's name is one path segment."""
    with pytest.raises(SpiffeIdError):
        node_id("tndrl", name)


@pytest.mark.parametrize("text", ["", "spiffe://tndrl", "tndrl/", "Tndrl", "a b", "a" * 256])
def test_trust_domains(text: str) -> None:
    """A trust domain is a bare lower-case name of at most 255 bytes."""
    with pytest.raises(SpiffeIdError):
        parse_trust_domain(text)


@pytest.mark.parametrize(
    ("pattern", "identity", "matches"),
    [
        ("spiffe://tndrl/node/a", "spiffe://tndrl/node/a", True),
        ("spiffe://tndrl/node/a", "spiffe://tndrl/node/ab", False),
        ("spiffe://tndrl/node/*", "spiffe://tndrl/node/a", True),
        ("spiffe://tndrl/node/*", "spiffe://tndrl/node/a/b", False),
        ("spiffe://tndrl/node/*", "spiffe://tndrl/node", False),
        ("spiffe://tndrl/*/a", "spiffe://tndrl/node/a", True),
        ("spiffe://tndrl/*/a", "spiffe://tndrl/a", False),
        ("spiffe://tndrl/node/web-*-eu", "spiffe://tndrl/node/web-1-eu", True),
        ("spiffe://tndrl/node/web-*-eu", "spiffe://tndrl/node/web-1-us", False),
        ("spiffe://tndrl/node/*", "spiffe://other/node/a", False),
        ("spiffe://tndrl/node/a.c", "spiffe://tndrl/node/abc", False),
        ("spiffe://tndrl/node/A*", "spiffe://tndrl/node/ab", False),
    ],
)
def test_patterns(pattern: str, identity: str, matches: bool) -> None:
    """A star stops at a slash, and everything else is literal."""
    assert IdPattern.parse(pattern).matches(SpiffeId.parse(identity)) is matches


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "spiffe://*/node/a",
        "spiffe://tn*/a",
        "spiffe://tndrl/**",
        "spiffe://tndrl/[a]",
        "spiffe://tndrl/?",
    ],
)
def test_bad_patterns(text: str) -> None:
    """A pattern is a well-formed ID but for its stars, none of which stands in the trust domain or is doubled."""
    with pytest.raises(SpiffeIdError):
        IdPattern.parse(text)


def test_pattern_is_quick_on_many_stars() -> None:
    """Many stars against a long name that does not match cost no time to speak of."""
    pattern = IdPattern.parse("spiffe://tndrl/" + "a*" * 500 + "b")
    assert not pattern.matches(SpiffeId.parse("spiffe://tndrl/" + "a" * 2000))


def test_pattern_text() -> None:
    """A pattern prints as it was written."""
    assert str(IdPattern.parse("spiffe://tndrl/node/*")) == "spiffe://tndrl/node/*"
