"""Everything this package raises, in one tree.

PkiError
├── SpiffeIdError   a text is no SPIFFE ID, trust domain, pattern or node name
├── FileError       a file cannot be used for what it is needed for
├── RefusedError    the authority does not issue that
└── SvidError       a certificate breaks rules of the X509-SVID profile

Exceptions carry facts; ``str`` writes the sentence with its cure. Text that came from a file or a peer is escaped
and shortened before it stands in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pki.alerts import Alert

if TYPE_CHECKING:
    from pki.spiffe import SpiffeId


def shown(text: str, limit: int = 200) -> str:
    """Return text of foreign origin made safe to print: escaped to ASCII, at most ``limit`` characters."""
    safe = text[: limit + 1].encode("unicode_escape").decode("ascii")
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


class PkiError(Exception):
    """The root of the tree. Catch it to catch everything this package raises."""


class SpiffeIdError(PkiError):
    """``text`` is not what it should be (``kind``: "SPIFFE ID", "trust domain", ...); ``problem`` says why."""

    def __init__(self, kind: str, text: str, problem: str) -> None:
        super().__init__(kind, text, problem)
        self.kind = kind
        self.text = text
        self.problem = problem

    def __str__(self) -> str:
        return f"'{shown(self.text, 80)}' is not a valid {self.kind}: {self.problem}"


class FileError(PkiError):
    """``path`` cannot be used: ``problem`` says why, ``cure`` what to do.

    ``key`` is the configuration key that names the file, such as ``pki.cert``; None where none does.
    """

    def __init__(self, path: Path, problem: str, cure: str, *, key: str | None = None) -> None:
        super().__init__(path, problem, cure)
        self.path = path
        self.problem = problem
        self.cure = cure
        self.key = key

    def __str__(self) -> str:
        place = f"{self.key}: " if self.key else ""
        return f"{place}{shown(str(self.path))}: {self.problem}; {self.cure}"


class RefusedError(PkiError):
    """The authority does not issue that: ``problem`` says why, ``cure`` what to do."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(problem, cure)
        self.problem = problem
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.problem}; {self.cure}"


@dataclass(frozen=True)
class Violation:
    """One broken rule: its name, the TLS alert it deserves, and a sentence for people."""

    rule: str
    alert: Alert
    message: str


class SvidError(PkiError):
    """A certificate breaks rules of the X509-SVID profile.

    ``violations`` are all that were found, the one that chooses the alert first; ``alert`` is that one's;
    ``spiffe_id`` is the identity the certificate claims, None if it claims none that can be read.
    """

    def __init__(self, violations: Sequence[Violation], spiffe_id: SpiffeId | None = None) -> None:
        super().__init__(violations)
        self.violations = tuple(violations)
        self.alert = self.violations[0].alert
        self.spiffe_id = spiffe_id

    def __str__(self) -> str:
        return self.violations[0].message
