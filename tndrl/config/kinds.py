"""The kinds of values that settings take: how each is read, what it may be, how a message names it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping

from tndrl.config.address import parse_address
from tndrl.config.values import Value
from tndrl.errors import ConfigError, peer_text

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Kind(ABC):
    """One kind of value. ``name`` is its name in the reference, ``limit`` what bounds it."""

    name: str
    limit: str = ""

    @abstractmethod
    def read(self, value: Value) -> object:
        """Return what was written as the Python value; raises ``ConfigError`` where the type is wrong."""

    @abstractmethod
    def check(self, value: object) -> None:
        """Raise ``ConfigError`` unless the Python ``value`` is one that this kind may have."""


class Text(Kind):
    """Text, of which any but the empty one and NUL will do."""

    name = "text"

    def read(self, value: Value) -> object:
        """Return the text as written: plain ``3.2`` or ``yes`` stay text, as in a Go node."""
        return value.text("text")

    def check(self, value: object) -> None:
        """Refuse what is not text, is empty or holds NUL."""
        if not isinstance(value, str):
            raise _wrong(value, "text")
        if not value:
            raise ConfigError("is empty; write a value or remove the key")
        if "\0" in value:
            raise ConfigError("holds a NUL character; remove it")


class FilePath(Text):
    """A path; ``~`` is the home directory, a relative one starts at the working directory."""

    name = "path"


class Choice(Text):
    """One of a few words."""

    def __init__(self, *words: str, aliases: Mapping[str, str] | None = None) -> None:
        self._words = words
        self._aliases = aliases or {}
        self.limit = ", ".join(words)

    def read(self, value: Value) -> object:
        """Return the word in lower case, an alias replaced."""
        word = value.text("text").lower()
        return self._aliases.get(word, word)

    def check(self, value: object) -> None:
        """Refuse any other word."""
        super().check(value)
        if value not in self._words:
            raise ConfigError(f"'{peer_text(str(value), 60)}' is not one of {self.limit}")


class Address(Text):
    """``host:port``; see ``parse_address``."""

    name = "address"

    def __init__(self, *, listen: bool = False) -> None:
        self._listen = listen

    def check(self, value: object) -> None:
        """Refuse what is not an address."""
        super().check(value)
        parse_address(str(value), listen=self._listen)


class Url(Text):
    """An ``http`` or ``https`` URL."""

    name = "URL"

    def check(self, value: object) -> None:
        """Refuse another scheme, a missing host and white space."""
        super().check(value)
        if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", str(value), re.IGNORECASE):
            raise ConfigError(
                f"'{peer_text(str(value), 80)}' is not a URL; write http://host or https://host"
            )


class SpiffeId(Text):
    """A SPIFFE ID, or with ``glob`` a pattern of them in which ``*`` stops at ``/``."""

    def __init__(self, *, glob: bool = False) -> None:
        self._glob = glob
        self.name = "SPIFFE ID glob" if glob else "SPIFFE ID"

    def check(self, value: object) -> None:
        """Refuse what breaks a rule of SPIFFE-ID, section 2."""
        from pki import errors, spiffe  # loaded here: a configuration without identities needs it not

        super().check(value)
        try:
            (spiffe.IdPattern if self._glob else spiffe.SpiffeId).parse(str(value))
        except errors.PkiError as exc:
            raise ConfigError(str(exc)) from exc


class Boolean(Kind):
    """True or false."""

    name = "true or false"

    def read(self, value: Value) -> object:
        """Take true, yes, on, false, no, off, in any case; a variable may say 1 and 0 too."""
        text = value.plain_text(self.name).lower()
        truths = _TRUTHS | {"1": True, "0": False} if value.inline else _TRUTHS
        if text not in truths:
            raise ConfigError(f"expected {self.name}, found {value.shape}")
        return truths[text]

    def check(self, value: object) -> None:
        """Refuse what is neither."""
        if not isinstance(value, bool):
            raise _wrong(value, self.name)


class Number(Kind):
    """A whole number, or with ``seconds`` any, from ``low`` to ``high``."""

    def __init__(self, low: float, high: float, *, seconds: bool = False) -> None:
        self._low, self._high = low, high
        self._type: type[int | float] = float if seconds else int
        self.name = "seconds" if seconds else "whole number"
        self.limit = f"{low:g} to {high:,g}" if high < 1e6 else f"{low:g} to {high:,.0f}"
        self._wanted = "a number of seconds" if seconds else "a whole number"

    def read(self, value: Value) -> object:
        """Take a number without unit."""
        try:
            return self._type(value.plain_text(self._wanted))
        except ValueError:
            raise ConfigError(f"expected {self._wanted}, found {value.shape}") from None

    def check(self, value: object) -> None:
        """Refuse what is no number or out of bounds."""
        if isinstance(value, bool) or not isinstance(value, (int, self._type)):
            raise _wrong(value, self._wanted)
        if not self._low <= value <= self._high:
            raise ConfigError(f"{peer_text(str(value), 20)} is out of bounds; write {self.limit}")


class ListOf(Kind):
    """A list of one kind of values, called ``items``; ``if_empty`` says why an empty one is refused."""

    def __init__(self, item: Kind, items: str, *, if_empty: str = "") -> None:
        self._item = item
        self._if_empty = if_empty
        self.name = f"list of {items}"

    def read(self, value: Value) -> object:
        """Return a tuple of what the item's kind reads."""
        return tuple(self._item.read(item) for item in value.items(f"a {self.name}"))

    def check(self, value: object) -> None:
        """Refuse what is no tuple, and what the item's kind refuses."""
        if not isinstance(value, tuple):
            raise _wrong(value, f"a tuple ({self.name})")
        if not value and self._if_empty:
            raise ConfigError(self._if_empty)
        for item in value:
            self._item.check(item)


class TextMap(Kind):
    """A mapping of text to text."""

    name = "mapping of text"

    def read(self, value: Value) -> object:
        """Return a dict; a null value is empty text."""
        entries = value.mapping(f"a {self.name}")
        return {key: "" if item.content is None else item.text("text") for key, item in entries.items()}

    def check(self, value: object) -> None:
        """Refuse what is no dict of text to text."""
        if not isinstance(value, dict) or not all(
            isinstance(part, str) for part in (*value.keys(), *value.values())
        ):
            raise _wrong(value, f"a dict ({self.name})")


class AnyMap(Kind):
    """A mapping of text to anything YAML can say."""

    name = "mapping"

    def read(self, value: Value) -> object:
        """Return a dict; unquoted numbers, truths and nulls become those."""
        return {key: _anything(item) for key, item in value.mapping().items()}

    def check(self, value: object) -> None:
        """Refuse what is no dict."""
        if not isinstance(value, dict):
            raise _wrong(value, "a dict")


def _anything(value: Value) -> object:
    if isinstance(value.content, dict):
        return {key: _anything(item) for key, item in value.content.items()}
    if isinstance(value.content, list):
        return [_anything(item) for item in value.content]
    if value.content is None or not value.plain:
        return value.content
    if value.content.lower() in _TRUTHS:
        return _TRUTHS[value.content.lower()]
    for number in (int, float):
        try:
            return number(value.content)
        except ValueError:
            continue
    return value.content


def _wrong(value: object, wanted: str) -> ConfigError:
    return ConfigError(f"expected {wanted}, found {type(value).__name__}")
