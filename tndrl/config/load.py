"""Brings flags, variables, the file and the defaults together."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import FieldInfo

from tndrl.config.schema import Config, PeerConfig
from tndrl.config.section import Field, Items, Named, Section, check, described, joined, meaning
from tndrl.config.settings import SETTINGS
from tndrl.config.values import Value
from tndrl.errors import ConfigError, peer_text

AnySection = TypeVar("AnySection", bound=Section)

logger = logging.getLogger("tndrl.config")


def load_config(
    path: str | Path | None = None,
    *,
    flags: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration: ``flags`` before ``env`` before the file at ``path`` before the defaults.

    ``flags`` maps dotted keys (``"server.addr"``) to values, None meaning not given; ``env`` is the process's
    own environment unless given. Without ``path`` the variable ``TNDRL_CONFIG`` names the file; without both
    there is none. An empty variable, and in the file an empty value, mean not set.

    Raises ``ConfigError`` with source, line and key for the first mistake, the others as its notes (PEP 678).
    """
    env = os.environ if env is None else env
    overrides = _from_env(env) | _from_flags(flags or {})
    root = Value({}, "defaults")
    if path := path or env.get("TNDRL_CONFIG"):
        from tndrl.config.document import read_document

        root = read_document(Path(path))
    return _Loader(overrides).config(root)


def _from_env(env: Mapping[str, str]) -> dict[str, Value]:
    return {
        key: Value(text, setting.env, inline=True)
        for key, setting in SETTINGS.items()
        if setting.env and (text := env.get(setting.env))
    }


def _from_flags(flags: Mapping[str, object]) -> dict[str, Value]:
    values = {}
    for key, given in flags.items():
        setting = SETTINGS.get(key)
        if setting is None:
            raise ConfigError(f"there is no such setting; {_nearest(key, SETTINGS)}", key=peer_text(key, 60))
        if given is not None:
            values[key] = _flag_value(given, setting.flag or "flags", key)
    return values


def _flag_value(given: object, source: str, key: str) -> Value:
    """Return a Python value as somebody would have written it, so that there is one way to read settings."""
    if isinstance(given, (list, tuple)):
        return Value([_flag_value(item, source, key) for item in given], source)
    if isinstance(given, bool):
        return Value(str(given).lower(), source)
    if isinstance(given, (str, int, float, os.PathLike)):
        return Value(str(given), source, inline=True)
    raise ConfigError(f"a {type(given).__name__} cannot be a setting", key=key, source=source)


class _Loader:
    """Builds the sections from values, and collects what is wrong instead of stopping at it."""

    def __init__(self, overrides: Mapping[str, Value]) -> None:
        self._overrides = overrides  # by dotted key
        self._problems: list[ConfigError] = []

    def config(self, root: Value) -> Config:
        """Return the whole configuration; raises ``ConfigError`` with everything that was wrong."""
        config = self._section(Config, root, "")
        if config is None:
            raise joined(sorted(self._problems, key=lambda problem: problem.line or 0))
        return config

    def _section(self, section: type[AnySection], value: Value, key: str) -> AnySection | None:
        """Return a section, or None after noting what is wrong with it."""
        before = len(self._problems)
        try:
            arguments = self._arguments(section, value, f"{key}." if key else "")
        except ConfigError as exc:
            self._problems.append(value.error(exc.problem, key))
        return section(**arguments) if len(self._problems) == before else None

    def _arguments(self, section: type[Section], value: Value, prefix: str) -> dict[str, Any]:
        """Return the arguments of a section: only those that are set."""
        entries = {} if value.content is None else value.mapping()
        self._refuse_unknown(section, entries, prefix)
        arguments: dict[str, Any] = {}
        for info in described(section):
            key = prefix + info.encode_name
            entry = self._overrides.get(key) or entries.get(info.encode_name) or Value(None, value.source)
            described_by = meaning(info)
            if isinstance(described_by, type):
                arguments[info.name] = self._section(described_by, entry, key)
            elif not _unset(entry, described_by):
                arguments[info.name] = self._set(described_by, info, entry, key)
            elif info.required:
                self._problems.append(value.error("is missing; add it", key))
        return arguments

    def _refuse_unknown(self, section: type[Section], entries: Mapping[str, Value], prefix: str) -> None:
        known = [info.encode_name for info in described(section)]
        for key, entry in entries.items():
            if key not in known:
                problem = f"there is no such key; {_nearest(key, known)}"
                self._problems.append(entry.error(problem, prefix + peer_text(key, 60)))

    def _set(self, described_by: Field | Items | Named, info: FieldInfo, value: Value, key: str) -> object:
        """Return a field's value, or None after noting what is wrong with it."""
        try:
            if isinstance(described_by, Items):
                return self._items(described_by, value, key)
            if isinstance(described_by, Named):
                entries = value.mapping("a mapping of names")
                return {name: self._named(described_by, entries[name], f"{key}.{name}") for name in entries}
            result = described_by.kind.read(value)
        except ConfigError as exc:
            self._problems.append(value.error(exc.problem, key))
            return None
        self._problems += [value.error(problem.problem, key) for problem in check(described_by, info, result)]
        return result

    def _items(self, field: Items, value: Value, key: str) -> tuple[Section | None, ...]:
        values = value.items("a list")
        items = [self._section(field.item, item, f"{key}[{at}]") for at, item in enumerate(values)]
        return _first_of_each_name(values, items) if field.item is PeerConfig else tuple(items)

    def _named(self, field: Named, value: Value, key: str) -> Section | None:
        """Return the section whose class the key ``type`` names, or None after noting what is wrong."""
        entries = dict(value.content) if isinstance(value.content, dict) else {}
        name = entries.pop("type", Value(None, value.source, value.line))
        if isinstance(name.content, str) and name.content in field.kinds:
            return self._section(
                field.kinds[name.content], msgspec.structs.replace(value, content=entries), key
            )
        found = "is missing" if name.content is None else f"{name.shape} is not known"
        self._problems.append(
            name.error(f"{found}; write {', '.join(field.kinds)}", peer_text(f"{key}.type"))
        )
        return None


def _unset(value: Value, described_by: Field | Items | Named) -> bool:
    """Whether a value in the file stands for "not set", as in a Go node; a flag means what it says."""
    if isinstance(described_by, Field) and not described_by.blank:
        return value.blank and not value.inline
    return value.content is None


def _first_of_each_name(values: list[Value], peers: list[Section | None]) -> tuple[Section | None, ...]:
    """Drop the peers whose name an earlier one has, with a warning each, as a Go node uses the first."""
    kept: dict[object, Section | None] = {}
    for value, peer in zip(values, peers, strict=True):
        name = peer.name if isinstance(peer, PeerConfig) else object()
        if name in kept:
            logger.warning("%s", value.error(f"a second peer called '{name}' is ignored; rename it", "peers"))
        kept.setdefault(name, peer)
    return tuple(kept.values())


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return the cure for an unknown key: the one that was meant, or those there are."""
    import difflib  # loaded here: only a mistake needs it

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(key.lower()[:100], by_lower, n=1)
    return f"did you mean '{by_lower[close[0]]}'?" if close else f"there are {', '.join(by_lower.values())}"
