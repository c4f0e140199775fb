"""The reference tables of docs/transport.md say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from tndrl.config import Config
from tndrl.errors import TndrlError
from tndrl.transport.codes import ErrorCode
from tndrl.transport.stream_type import RESERVED_TYPES, USER_TYPES, StreamType

PAGE = (Path(__file__).parent.parent / "docs" / "transport.md").read_text()


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


def _descendants(cls: type[TndrlError]) -> list[type[TndrlError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _descendants(child))]
