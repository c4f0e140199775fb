"""SPIFFE IDs: names of workloads, ``spiffe://<trust domain>/<path>``, and patterns of them.

The rules are those of the SPIFFE-ID specification, sections 2.1 to 2.3. Capital letters in the scheme or the trust
domain are refused, not folded: two spellings of one identity would be two entries in every list of identities.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pki.errors import SpiffeIdError

MAX_ID_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255
DEFAULT_TRUST_DOMAIN = "tndrl"
"""What a CA certificate that names no trust domain stands for."""

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A well-formed SPIFFE ID; one that breaks a rule cannot be made.

    ``path`` is empty for the ID of a trust domain itself, else it starts with a slash. Raises ``SpiffeIdError``.
    """

    trust_domain: str
    path: str = ""

    def __post_init__(self) -> None:
        parse_trust_domain(self.trust_domain)
        if problem := _path_problem(self.path):
            raise SpiffeIdError("SPIFFE ID", str(self), problem)
        if len(str(self)) > MAX_ID_BYTES:
            raise SpiffeIdError("SPIFFE ID", str(self), f"it is longer than {MAX_ID_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read an ID from its text. Raises ``SpiffeIdError``."""
        if not text.startswith(_SCHEME):
            raise SpiffeIdError("SPIFFE ID", text, f"it does not start with '{_SCHEME}'")
        domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        try:
            return cls(domain, slash + path)
        except SpiffeIdError as error:
            raise SpiffeIdError("SPIFFE ID", text, error.problem) from None

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def parse_trust_domain(text: str) -> str:
    """Return ``text`` if it is a trust domain's name (without ``spiffe://``). Raises ``SpiffeIdError``."""
    if not text:
        raise SpiffeIdError("trust domain", text, "the trust domain is empty")
    if not _TRUST_DOMAIN.fullmatch(text):
        problem = "a trust domain has only lower-case letters, digits, dots, dashes and underscores"
        raise SpiffeIdError("trust domain", text, problem)
    if len(text) > MAX_TRUST_DOMAIN_BYTES:
        raise SpiffeIdError("trust domain", text, f"it is longer than {MAX_TRUST_DOMAIN_BYTES} bytes")
    return text


def node_id(trust_domain: str, name: str) -> SpiffeId:
    """Return ``spiffe://<trust domain>/node/<name>``; the name is one path segment. Raises ``SpiffeIdError``."""
    if problem := _segment_problem(name):
        raise SpiffeIdError("node name", name, problem)
    return SpiffeId(trust_domain, f"/node/{name}")


def _path_problem(path: str) -> str | None:
    if not path:
        return None
    first, *segments = path.split("/")
    if first:
        return "the path does not start with '/'"
    return next((problem for segment in segments if (problem := _segment_problem(segment))), None)


def _segment_problem(segment: str) -> str | None:
    if not segment:
        return "it has an empty part (a slash too many, or nothing)"
    if segment in {".", ".."}:
        return "'.' and '..' are not allowed"
    if not _SEGMENT.fullmatch(segment):
        return "only letters, digits, dots, dashes and underscores are allowed"
    return None


@dataclass(frozen=True, slots=True)
class IdPattern:
    """A glob of SPIFFE IDs: ``*`` stands for any characters of one path segment and stops at ``/``.

    Everything else is literal, so the rest must be a well-formed SPIFFE ID. ``**`` is refused, because it would
    look as if it crossed slashes; a ``*`` in the trust domain is refused, because a node trusts domains one by one.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> IdPattern:
        """Read a pattern from its text. Raises ``SpiffeIdError``."""
        if "**" in text:
            raise SpiffeIdError(
                "pattern of SPIFFE IDs", text, "'**' is not supported: write one '*' per segment"
            )
        try:
            SpiffeId.parse(text.replace("*", "x"))
        except SpiffeIdError as error:
            raise SpiffeIdError("pattern of SPIFFE IDs", text, error.problem) from None
        if "*" in text.removeprefix(_SCHEME).partition("/")[0]:
            raise SpiffeIdError("pattern of SPIFFE IDs", text, "'*' is not allowed in the trust domain")
        return cls(text)

    def matches(self, identity: SpiffeId) -> bool:
        """Whether the whole of ``identity`` matches."""
        # A parsed pattern holds none of the other characters that are special to fnmatch.
        mine, theirs = self.text.split("/"), str(identity).split("/")
        return len(mine) == len(theirs) and all(map(fnmatchcase, theirs, mine))

    def __str__(self) -> str:
        return self.text
