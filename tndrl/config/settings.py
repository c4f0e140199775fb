"""The flat table of settings, derived from the schema."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tndrl.config.kinds import Kind
from tndrl.config.schema import Config
from tndrl.config.section import Field, Section, described, kebab, meaning, shown


class Setting(msgspec.Struct, frozen=True):
    """One setting: its dotted ``key``, variable and flag (None: it has none), kind, default and meaning."""

    key: str
    env: str | None
    flag: str | None
    kind: Kind
    default: object
    description: str
    default_text: str

    @property
    def type(self) -> str:
        """The name of its kind: text, path, seconds, true or false, list of text and so on."""
        return self.kind.name

    @property
    def limit(self) -> str:
        """What bounds it: words or numbers; empty for nothing."""
        return self.kind.limit


def _settings(section: type[Section], prefix: str = "") -> Iterator[Setting]:
    for info in described(section):
        key = prefix + info.encode_name
        described_by = meaning(info)
        if isinstance(described_by, Field):
            name = kebab(key.replace(".", "-"))
            yield Setting(
                key=key,
                env="TNDRL_" + name.replace("-", "_").upper() if described_by.env == "" else described_by.env,
                flag="--" + name if described_by.flag == "" else described_by.flag,
                kind=described_by.kind,
                default=info.default,
                description=described_by.text,
                default_text=described_by.default or shown(info.default),
            )
        elif isinstance(described_by, type):
            yield from _settings(described_by, key + ".")


SETTINGS: dict[str, Setting] = {setting.key: setting for setting in _settings(Config)}
"""Every setting that has a single value, by its dotted key, in the order of the schema."""
