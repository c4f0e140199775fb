"""The kinds of values."""

import re

import pytest

from tndrl.config.kinds import (
    Address,
    AnyMap,
    Boolean,
    Choice,
    FilePath,
    ListOf,
    Number,
    SpiffeId,
    Text,
    TextMap,
    Url,
)
from tndrl.config.values import Value
from tndrl.errors import ConfigError

SECONDS = Number(0.5, 86400, seconds=True)
COUNT = Number(0, 10)
LEVEL = Choice("info", "warn", aliases={"warning": "warn"})


def scalar(text, **more):
    return Value(text, "file", **more)


def mapping(**entries):
    return Value({key: scalar(text) for key, text in entries.items()}, "file")


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Text(), scalar("3.2"), "3.2"),
        (FilePath(), scalar("~/x"), "~/x"),
        (LEVEL, scalar("WARN"), "warn"),
        (LEVEL, scalar("warning"), "warn"),
        (Boolean(), scalar("Yes"), True),
        (Boolean(), scalar("off"), False),
        (Boolean(), scalar("1", inline=True), True),
        (SECONDS, scalar("0.5"), 0.5),
        (SECONDS, scalar("30"), 30.0),
        (COUNT, scalar("7"), 7),
        (ListOf(Text(), "text"), scalar("a, b", inline=True), ("a", "b")),
        (ListOf(Text(), "text"), Value([], "file"), ()),
        (TextMap(), mapping(a="true", b=None), {"a": "true", "b": ""}),
    ],
)
def test_read(kind, value, result):
    """What was written becomes the Python value, which its own kind then accepts."""
    assert kind.read(value) == result
    kind.check(result)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (Text(), Value([], "file"), "expected text, found a list"),
        (Boolean(), scalar("maybe"), "expected true or false, found 'maybe'"),
        (Boolean(), scalar("1"), "expected true or false, found '1'"),
        (
            Boolean(),
            scalar("true", plain=False),
            "expected true or false, found the text 'true'; remove the quotes",
        ),
        (SECONDS, scalar("30s"), "expected a number of seconds, found '30s'"),
        (COUNT, scalar("1.5"), "expected a whole number, found '1.5'"),
        (COUNT, scalar("9" * 5000), "expected a whole number, found '999"),
        (
            ListOf(Text(), "text"),
            scalar("a"),
            "expected a list of text, found 'a'; write each item after '- '",
        ),
        (TextMap(), Value([], "file"), "expected a mapping of text, found a list"),
        (TextMap(), Value({"a": Value([], "file")}, "file"), "expected text, found a list"),
        (AnyMap(), scalar("x"), "expected a mapping of keys, found 'x'"),
    ],
)
def test_wrong_type(kind, value, problem):
    """What is not of the type is refused with what was expected and what was found."""
    with pytest.raises(ConfigError, match=re.escape(problem)):
        kind.read(value)


def test_anything():
    """An open mapping keeps lists, mappings, numbers, truths and nulls; quotes keep text."""
    inner = Value(
        [scalar("1"), scalar("1.5"), scalar("no"), scalar(None), scalar("1", plain=False), scalar("x")],
        "file",
    )
    value = Value({"a": inner, "b": mapping(c="d")}, "file")
    assert AnyMap().read(value) == {"a": [1, 1.5, False, None, "1", "x"], "b": {"c": "d"}}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Url(), "http://localhost:11434/v1"),
        (Url(), "HTTPS://example.org"),
        (Address(), "backend:4433"),
        (Address(listen=True), ":0"),
        (SpiffeId(), "spiffe://tndrl/node/a"),
        (SpiffeId(glob=True), "spiffe://tndrl/*/a*"),
        (COUNT, 10),
        (SECONDS, 1),
        (AnyMap(), {}),
    ],
)
def test_accepted(kind, value):
    """Values within the rules pass."""
    kind.check(value)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (Text(), 5, "expected text, found int"),
        (Text(), "", "is empty"),
        (FilePath(), "a\0b", "holds a NUL character"),
        (LEVEL, "loud", "'loud' is not one of info, warn"),
        (Address(), "backend", "is not an address"),
        (Address(), ":1", "is not an address"),
        (Url(), "ftp://example.org", "is not a URL; write http://host or https://host"),
        (Url(), "http://", "is not a URL"),
        (Url(), "http://a b", "is not a URL"),
        (SpiffeId(), "spiffe://tndrl/*", "'spiffe://tndrl/*' is not a valid SPIFFE ID"),
        (SpiffeId(glob=True), "spiffe://*/a", "is not a valid pattern of SPIFFE IDs"),
        (SpiffeId(), None, "expected text, found NoneType"),
        (Boolean(), 1, "expected true or false, found int"),
        (COUNT, True, "expected a whole number, found bool"),
        (COUNT, 1.0, "expected a whole number, found float"),
        (COUNT, 11, "11 is out of bounds; write 0 to 10"),
        (COUNT, -1, "-1 is out of bounds"),
        (COUNT, 10**400, "is out of bounds"),
        (SECONDS, float("nan"), "nan is out of bounds; write 0.5 to 86,400"),
        (SECONDS, float("inf"), "inf is out of bounds"),
        (ListOf(Text(), "text"), ["a"], "expected a tuple (list of text), found list"),
        (ListOf(Text(), "text"), ("a", 1), "expected text, found int"),
        (ListOf(Text(), "text", if_empty="an empty list; fill it"), (), "an empty list; fill it"),
        (TextMap(), {"a": 1}, "expected a dict (mapping of text), found dict"),
        (TextMap(), [], "expected a dict (mapping of text), found list"),
        (AnyMap(), [], "expected a dict, found list"),
    ],
)
def test_refused(kind, value, problem):
    """Values outside the rules are refused with the cause."""
    with pytest.raises(ConfigError, match=re.escape(problem)):
        kind.check(value)


def test_limits():
    """A kind says what bounds it."""
    assert (SECONDS.limit, Number(0, 2_000_000).limit, LEVEL.limit) == (
        "0.5 to 86,400",
        "0 to 2,000,000",
        "info, warn",
    )
