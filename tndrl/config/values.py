"""A value as somebody wrote it, with the place where it stands."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tndrl.errors import ConfigError, peer_text

Content: TypeAlias = "str | list[Value] | dict[str, Value] | None"


class Value(msgspec.Struct, frozen=True):
    """Text, a list, a mapping or nothing, not yet understood.

    ``plain`` says that text stood without quotes, so it may mean a number or a truth; ``inline`` that it is a
    variable or a flag, where a list is written with commas. ``size`` counts the values within, aliases expanded.
    """

    content: Content
    source: str
    line: int | None = None
    plain: bool = True
    inline: bool = False
    size: int = 1

    @property
    def blank(self) -> bool:
        """Whether it says nothing: null, empty text or an empty list. Go nodes take those for "not set"."""
        return self.content is None or self.content in ("", [])

    @property
    def shape(self) -> str:
        """What it looks like, for a message: ``a list``, ``a mapping``, ``nothing`` or the text itself."""
        if isinstance(self.content, str):
            return f"'{peer_text(self.content, 60)}'"
        if self.content is None:
            return "nothing"
        return "a list" if isinstance(self.content, list) else "a mapping"

    def text(self, wanted: str) -> str:
        """Return the text, or raise ``ConfigError`` saying that ``wanted`` was expected."""
        if not isinstance(self.content, str):
            raise ConfigError(f"expected {wanted}, found {self.shape}")
        return self.content

    def plain_text(self, wanted: str) -> str:
        """Return text that was not quoted, or raise ``ConfigError`` saying that ``wanted`` was expected."""
        text = self.text(wanted)
        if not self.plain:
            raise ConfigError(f"expected {wanted}, found the text {self.shape}; remove the quotes")
        return text.strip()

    def items(self, wanted: str) -> list[Value]:
        """Return the items of a list, or raise ``ConfigError`` saying that ``wanted`` was expected."""
        if self.inline and isinstance(self.content, str):
            parts = (part.strip() for part in self.content.split(","))
            return [msgspec.structs.replace(self, content=part) for part in parts if part]
        if not isinstance(self.content, list):
            raise ConfigError(f"expected {wanted}, found {self.shape}; write each item after '- '")
        return self.content

    def mapping(self, wanted: str = "a mapping of keys") -> dict[str, Value]:
        """Return the entries of a mapping, or raise ``ConfigError`` saying that ``wanted`` was expected."""
        if not isinstance(self.content, dict):
            raise ConfigError(f"expected {wanted}, found {self.shape}")
        return self.content

    def error(self, problem: str, key: str | None) -> ConfigError:
        """Return ``problem`` as an error that names this value's place and ``key``."""
        return ConfigError(problem, key=key or None, source=self.source, line=self.line)
