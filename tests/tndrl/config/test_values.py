"""Values as somebody wrote them."""

import pytest

from tndrl.config.values import Value
from tndrl.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (None, "nothing"),
        ("", "''"),
        ("x\n", r"'x\n'"),
        ([], "a list"),
        ({}, "a mapping"),
        ("é" * 99, "'" + r"\xe9" * 14 + "\\...'"),
    ],
)
def test_shape(content, shape):
    """A value's looks are named for messages, text escaped and shortened."""
    assert Value(content, "file").shape == shape


@pytest.mark.parametrize(
    ("content", "blank"), [(None, True), ("", True), ([], True), ({}, False), ("x", False)]
)
def test_blank(content, blank):
    """Null, empty text and the empty list say nothing."""
    assert Value(content, "file").blank is blank


def test_text():
    """Text is given as it stands, and nothing else is text."""
    assert Value(" x ", "file").text("text") == " x "
    with pytest.raises(ConfigError, match="expected text, found a list"):
        Value([], "file").text("text")


def test_plain_text():
    """Text that stood in quotes is no number."""
    assert Value(" 1 ", "file").plain_text("a number") == "1"
    with pytest.raises(ConfigError, match="expected a number, found the text '1'; remove the quotes"):
        Value("1", "file", plain=False).plain_text("a number")


def test_items():
    """A list has items; a comma makes items in a variable or flag only."""
    item = Value("a,b", "file")
    assert Value([item], "file").items("a list") == [item]
    assert [part.content for part in Value("a, b,", "TNDRL_X", inline=True).items("a list")] == ["a", "b"]
    with pytest.raises(ConfigError, match="expected a list, found 'a,b'"):
        item.items("a list")


def test_mapping():
    """A mapping has entries, and nothing else has."""
    assert Value({}, "file").mapping() == {}
    with pytest.raises(ConfigError, match="expected a mapping of keys, found 'x'"):
        Value("x", "file").mapping()


def test_error():
    """An error names the place where the value stands."""
    assert str(Value("x", "node.yaml", 3).error("is odd", "a.b")) == "node.yaml:3: a.b: is odd"
    assert str(Value("x", "TNDRL_X").error("is odd", "")) == "TNDRL_X: is odd"
