"""What goes to standard output: lines for people, or one JSON object per line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping


def printable(text: str) -> str:
    """Return ``text`` on one line: characters that would move the cursor or worse are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class Output:
    """Writes each result as it comes, as text or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def write(self, record: Mapping[str, object], text: str) -> None:
        """Write one result: ``record`` as JSON on one line, or ``text``."""
        line = json.dumps(record) if self.as_json else text
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
