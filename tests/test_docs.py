"""The reference tables of docs/transport.md say what the code says."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tndrl.config import SETTINGS, Config
from tndrl.errors import TndrlError
from tndrl.transport.codes import ErrorCode
from tndrl.transport.stream_type import RESERVED_TYPES, USER_TYPES, StreamType

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "transport.md").read_text()


def first_cells(heading: str) -> list[str]:
    """Return the first cell of each row of the table under ``heading``."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_error_codes() -> None:
    """Every application error code stands in the table with its number, and no other."""
    rows = re.findall(r"^\| `(0x[0-9a-f]{2})` \| `([A-Z_]+)` \|", PAGE, re.MULTILINE)
    assert [(int(code, 16), name) for code, name in rows] == [(code.value, code.name) for code in ErrorCode]


def test_stream_types() -> None:
    """The table of stream types names those of the code, and the ranges that are reserved and free."""
    ranges = [f"`{span.start:#04x}` to `{span.stop - 1:#04x}`" for span in (RESERVED_TYPES, USER_TYPES)]
    assert first_cells("The wire") == [*(f"`{kind:#04x}`" for kind in StreamType), *ranges, "all others"]


def test_exceptions() -> None:
    """Every exception in the table of what a caller sees exists in the tree."""
    section = PAGE.partition("## What a caller sees\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z]\w+Error)`", section))
    known = {cls.__name__ for cls in _descendants(TndrlError)}
    assert named
    assert named <= known


def test_deadlines() -> None:
    """Each deadline that has a setting stands there with the setting's default."""
    for seconds, section, name in re.findall(r"\| ([0-9.]+)[^|]*\| `(\w+)\.(\w+)` \|", PAGE):
        field = re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)
        assert getattr(getattr(Config(), section), field) == float(seconds), name


def limits() -> list[tuple[str, str, str]]:
    """Return setting or constant, default and test of each row of the table of limits."""
    section = PAGE.partition("## Limits\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][1:]
    return [(re.findall("`([^`]+)`", row[0])[-1], row[1].strip(), row[3].strip(" `")) for row in rows]


def number(text: str) -> float:
    """Return what a default says: ``1,024``, ``64 KiB``, ``50 %``."""
    digits, _, unit = text.partition(":")[0].partition(" ")
    return float(digits.replace(",", "")) * {"KiB": 1024, "MiB": 1024**2}.get(unit, 1)


def value_of(name: str) -> float:
    """Return the default of a setting (``limits.streams``), or a constant (``tndrl.transport.http2.HELD``)."""
    owner, _, last = name.rpartition(".")
    if owner in ("limits", "transport"):
        return getattr(
            getattr(Config(), owner), re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), last)
        )
    return getattr(import_module(owner), last)


@pytest.mark.parametrize(("name", "default", "test"), limits(), ids=[name for name, _, _ in limits()])
def test_limits(name: str, default: str, test: str) -> None:
    """Each limit has the default that the code has, and a test that exists."""
    assert value_of(name) == number(default)
    file, _, function = test.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text()


def test_every_limit_is_listed() -> None:
    """No setting of ``limits`` is missing from the table."""
    keys = {key for key in SETTINGS if key.startswith("limits.")}
    assert keys
    assert keys <= {name for name, _, _ in limits()}


def _descendants(cls: type[TndrlError]) -> list[type[TndrlError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _descendants(child))]
