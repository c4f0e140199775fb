"""What makes a struct a part of the configuration: described fields, and no instance that breaks a rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import FieldInfo, fields

from tndrl.config.kinds import Kind
from tndrl.errors import ConfigError


class Field(msgspec.Struct, frozen=True):
    """Describes a field that holds one setting.

    ``text`` is its meaning. ``env`` and ``flag`` default to names made from the key; None means that there is
    none. ``default`` stands in the reference where the Python default does not say it. ``blank`` says that an
    empty list means something else than not being set.
    """

    text: str
    kind: Kind
    env: str | None = ""
    flag: str | None = ""
    default: str = ""
    blank: bool = False


class Items(msgspec.Struct, frozen=True):
    """Describes a field that holds a tuple of sections."""

    text: str
    item: type[Section]


class Named(msgspec.Struct, frozen=True):
    """Describes a field that holds sections by name, whose ``type`` key says which of ``kinds`` they are."""

    text: str
    kinds: Mapping[str, type[Section]]


class Section(msgspec.Struct, frozen=True, rename="camel"):
    """Base of every part of the configuration; checks itself, so that one that exists is valid."""

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for the first rule broken, the others as its notes."""
        if problems := list(self.problems()):
            raise joined(problems)

    def problems(self) -> Iterator[ConfigError]:
        """Yield every rule that this section's own values break."""
        for info in described(type(self)):
            if isinstance(field := meaning(info), Field):
                yield from check(field, info, getattr(self, info.name))


@cache
def described(section: type[Section]) -> tuple[FieldInfo, ...]:
    """Return the fields of a section; looking them up costs more than checking them."""
    return fields(section)


def meaning(info: FieldInfo) -> Field | Items | Named | type[Section]:
    """Return what describes a field: its annotation, or for a section within a section its class."""
    metadata: tuple[Any, ...] = getattr(info.type, "__metadata__", ())
    described_by: Field | Items | Named | type[Section] = metadata[0] if metadata else info.type
    return described_by


def check(field: Field, info: FieldInfo, value: object) -> Iterator[ConfigError]:
    """Yield what is wrong with the Python ``value`` of a field; None is right where it is the default."""
    if value is None and info.default is None:
        return
    try:
        field.kind.check(value)
    except ConfigError as exc:
        yield ConfigError(exc.problem, key=info.encode_name)


def joined(problems: list[ConfigError]) -> ConfigError:
    """Return the first of ``problems`` with the others as its notes (PEP 678)."""
    for other in problems[1:]:
        problems[0].add_note(str(other))
    return problems[0]


def kebab(camel: str) -> str:
    """Return ``caCert`` as ``ca-cert``."""
    return re.sub(r"(?=[A-Z])", "-", camel).lower()


def shown(default: object) -> str:
    """Return a default as the reference shows it; empty for none."""
    if default in (None, (), msgspec.NODEFAULT):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{', '.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
