"""Writes the tables of docs/configuration.md from the schema: ``python -m tndrl.config.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tndrl.config import schema
from tndrl.config.section import Field, Items, Named, Section, described, meaning, shown
from tndrl.config.settings import SETTINGS, Setting

_SETTING_HEAD = ("Key", "Variable", "Flag", "Type", "Default", "Meaning")
_FIELD_HEAD = ("Key", "Type", "Default", "Meaning")


def reference() -> str:
    """Return the tables as Markdown."""
    groups: dict[str, list[Setting]] = {}
    for setting in SETTINGS.values():
        groups.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    texts = {info.encode_name: meaning(info).__doc__ for info in described(schema.Config)}
    tables = [_table(name, texts.get(name) or "", settings) for name, settings in groups.items()]
    return "\n\n".join([*tables, *_lists(schema.Config, "")]) + "\n"


def _table(name: str, text: str, settings: list[Setting]) -> str:
    rows: list[tuple[str, ...]] = [
        (
            f"`{s.key}`",
            _code(s.env),
            _code(s.flag),
            s.type,
            s.default_text or "-",
            _meaning(s.description, s.limit),
        )
        for s in settings
    ]
    return _markdown(f"`{name}`" if name else "Top level", text, _SETTING_HEAD, rows)


def _lists(section: type[Section], prefix: str) -> Iterator[str]:
    """Yield a table for every kind of section that stands in a list or under a name."""
    for info in described(section):
        key, described_by = prefix + info.encode_name, meaning(info)
        if isinstance(described_by, Items):
            yield _section(f"`{key}[]`", described_by.text, described_by.item)
        elif isinstance(described_by, Named):
            for name, kind in described_by.kinds.items():
                yield _section(f"`{key}.<name>` with `type: {name}`", kind.__doc__ or "", kind)
        elif isinstance(described_by, type):
            yield from _lists(described_by, f"{key}.")


def _section(title: str, text: str, section: type[Section]) -> str:
    rows: list[tuple[str, ...]] = []
    for info, field in (
        (info, field) for info in described(section) if isinstance(field := meaning(info), Field)
    ):
        default = "required" if info.required else field.default or shown(info.default) or "-"
        rows.append(
            (f"`{info.encode_name}`", field.kind.name, default, _meaning(field.text, field.kind.limit))
        )
    return _markdown(title, text, _FIELD_HEAD, rows)


def _markdown(title: str, text: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join(part for part in (f"### {title}", text, table) if part)


def _code(text: str | None) -> str:
    return f"`{text}`" if text else "-"


def _meaning(text: str, limit: str) -> str:
    return f"{text} ({limit})" if limit else text


if __name__ == "__main__":
    sys.stdout.write(reference())
