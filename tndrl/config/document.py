"""Reads a YAML file into values that know their line.

Built on the parser's events rather than on its constructor, so that nothing is ever constructed from a tag,
aliases and nesting are bounded while they are read, a key that stands twice is seen, and every value keeps
its line. Import it only where there is a file to read: the YAML parser takes as long to load as the rest of
``tndrl.config``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from tndrl.config.values import Content, Value
from tndrl.errors import ConfigError, peer_text

_Event: TypeAlias = Any  # the parser's types do not say which event has which attributes

MAX_BYTES = 1 << 20
"""Bytes of a configuration file at most."""

MAX_VALUES = 10_000
"""Values in a file at most, each use of an alias counted in full."""

MAX_DEPTH = 32
"""Levels of nesting at most."""

_TOO_DEEP = f"more than {MAX_DEPTH} levels of nesting; flatten it"

_CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "map", "null", "seq", "str")
)
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


def read_document(path: Path) -> Value:
    """Read the YAML file at ``path``; an empty one is an empty mapping.

    Raises ``ConfigError`` with file and line: a file that is missing, unreadable, too big or not UTF-8, and
    YAML that is malformed, too deep, too large, has a key twice or uses a tag.
    """
    source = str(path)
    return _Composer(_decode(_read(path, source), source), source).document()


def _read(path: Path, source: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problem = "there is no such file; check the path"
    except IsADirectoryError:
        problem = "is a directory; name the file in it"
    except PermissionError:
        problem = "this user may not read it; change its owner or mode"
    except (OSError, ValueError) as exc:
        problem = f"cannot be read: {getattr(exc, 'strerror', None) or exc}; check the path"
    else:
        if len(data) <= MAX_BYTES:
            return data
        problem = f"is larger than {MAX_BYTES >> 20} MiB; check that it is a configuration file"
    raise ConfigError(problem, source=source)


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError("is not UTF-8 text; save it as UTF-8", source=source, line=line) from None


class _Composer:
    """Turns the events of one document into a ``Value``."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._anchors: dict[str, Value] = {}
        self._values = 0  # read so far
        self._events = self._parse(text)

    def document(self) -> Value:
        """Return the one document of the file."""
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Value({}, self._source)
        root = self._value(next(self._events), 0)
        next(self._events)  # the end of the document
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise self._error("a second document starts here; keep one per file", following)
        return Value({}, self._source) if root.content is None else root

    def _parse(self, text: str) -> Iterator[_Event]:
        try:
            yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as exc:
            raise self._syntax_error(exc, text.splitlines()) from None
        except yaml.YAMLError as exc:
            at = getattr(exc, "position", 0)
            raise ConfigError(
                "has a control character; remove it", source=self._source, line=text.count("\n", 0, at) + 1
            ) from None

    def _syntax_error(self, exc: yaml.MarkedYAMLError, lines: list[str]) -> ConfigError:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        if line < len(lines) and "\t" in lines[line][: column + 1]:
            problem = "a tab where YAML wants spaces; indent with spaces"
        elif "nesting depth" in (
            exc.problem or ""
        ):  # libyaml's own bound, with PyYAML 6.0.4: it lies above ours
            problem = _TOO_DEEP
        else:
            words = ", ".join(part for part in (exc.context, exc.problem) if part)
            problem = f"not YAML: {peer_text(words)}; check indentation, colons and quotes"
        return ConfigError(problem, source=self._source, line=line + 1)

    def _error(self, problem: str, event: _Event) -> ConfigError:
        return ConfigError(problem, source=self._source, line=event.start_mark.line + 1)

    def _value(self, event: _Event, depth: int) -> Value:
        """Return the value that ``event`` begins."""
        if depth > MAX_DEPTH:
            raise self._error(_TOO_DEEP, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag not in _CORE_TAGS and event.tag not in (None, "!"):
            raise self._error(f"the tag '{peer_text(event.tag, 60)}' is not allowed; remove it", event)
        self._count(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = self._list(depth)
            value = self._made(event, items, 1 + sum(item.size for item in items))
        else:
            entries = self._mapping(depth)
            value = self._made(event, entries, 1 + sum(item.size for item in entries.values()))
        if event.anchor:
            self._anchors[event.anchor] = value
        return value

    def _count(self, event: _Event, values: int) -> None:
        """Count while reading, so that a bomb ends before it is built."""
        self._values += values
        if self._values > MAX_VALUES:
            raise self._error(f"more than {MAX_VALUES:,} values, aliases expanded; write less", event)

    def _made(self, event: _Event, content: Content, size: int = 1, *, plain: bool = True) -> Value:
        return Value(content, self._source, event.start_mark.line + 1, plain=plain, size=size)

    def _scalar(self, event: _Event) -> Value:
        plain = not event.style and event.tag in (None, "!") and event.implicit[0]
        return self._made(event, None if plain and event.value in _NULLS else event.value, plain=plain)

    def _alias(self, event: _Event) -> Value:
        value = self._anchors.get(event.anchor)
        if value is None:
            name = peer_text(event.anchor, 60)
            raise self._error(f"the alias '*{name}' stands before its anchor '&{name}' is complete", event)
        self._count(event, value.size)
        return value

    def _list(self, depth: int) -> list[Value]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Value]:
        entries: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            value = self._value(next(self._events), depth + 1)
            if key == "<<":
                merged = self._merge(value, event) | merged
            elif key in entries:
                first = entries[key].line
                raise self._error(
                    f"the key '{peer_text(key, 60)}' stands on line {first} already; remove one", event
                )
            else:
                # The key's line is where a person looks, also when its value begins below.
                entries[key] = msgspec.structs.replace(value, line=event.start_mark.line + 1)
        return merged | entries

    def _key(self, event: _Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error("a key must be text; write 'key: value'", event)
        return str(event.value)

    def _merge(self, value: Value, event: _Event) -> dict[str, Value]:
        """Return what ``<<`` brings in; of several mappings the earlier one wins (YAML merge key 1.1)."""
        parts = value.content if isinstance(value.content, list) else [value]
        result: dict[str, Value] = {}
        for part in parts:
            if not isinstance(part.content, dict):
                raise self._error("'<<' merges mappings only", event)
            result = part.content | result
        return result
