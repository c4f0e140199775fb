"""Structs that check themselves."""

from typing import Annotated

import msgspec
import pytest

from tndrl.config.kinds import Number, Text
from tndrl.config.section import Field, Section, described, joined, kebab, meaning, shown
from tndrl.errors import ConfigError


class Example(Section, frozen=True, kw_only=True):
    """A section with one setting of each kind of default."""

    some_text: Annotated[str | None, Field("Text.", Text())] = None
    some_count: Annotated[int, Field("Number.", Number(0, 10))] = 5


def test_valid():
    """A section within its rules can be made; None is right where it is the default."""
    assert Example(some_text=None, some_count=0).some_count == 0


def test_invalid():
    """A section that breaks rules cannot be made; the key is the file's, other mistakes are notes."""
    with pytest.raises(ConfigError) as caught:
        Example(some_text=5, some_count=11)
    assert str(caught.value) == "someText: expected text, found int"
    assert caught.value.__notes__ == ["someCount: 11 is out of bounds; write 0 to 10"]


def test_none_where_it_is_not_the_default():
    """None is no value where there is another default."""
    with pytest.raises(ConfigError, match="someCount: expected a whole number, found NoneType"):
        Example(some_count=None)


def test_frozen():
    """A section cannot be changed."""
    with pytest.raises(AttributeError):
        Example().some_count = 7


def test_meaning():
    """A field means what its annotation says."""
    assert [meaning(info).text for info in described(Example)] == ["Text.", "Number."]


def test_joined():
    """Of several problems the first is raised and the others are its notes."""
    first = joined([ConfigError("a"), ConfigError("b", key="k")])
    assert (str(first), first.__notes__) == ("a", ["k: b"])


@pytest.mark.parametrize(
    ("camel", "text"), [("caCert", "ca-cert"), ("addr", "addr"), ("mcpConfigFile", "mcp-config-file")]
)
def test_kebab(camel, text):
    """A key's words are joined by hyphens in flags."""
    assert kebab(camel) == text


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (None, ""),
        ((), ""),
        (msgspec.NODEFAULT, ""),
        (True, "`true`"),
        (("a", "b"), "`a, b`"),
        (30.0, "`30`"),
        (0, "`0`"),
    ],
)
def test_shown(default, text):
    """A default is shown as somebody would write it."""
    assert shown(default) == text
