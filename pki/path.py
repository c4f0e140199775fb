"""From a leaf to a trusted root: who signed whom, and may they."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from pki.alerts import Alert
from pki.errors import Violation, shown
from pki.parsed import UNREADABLE, Parsed

Path = tuple[Parsed, ...]
"""A leaf, the intermediates that vouch for it in order, and a root."""

Signed = Callable[[Parsed, Parsed], bool]


def memory_of_signatures() -> Signed:
    """Return ``signed(child, issuer)``: do the issuer's name and key stand behind the child?

    It remembers its answers, so that however a chain is tangled each pair costs one signature check at most.
    """
    return functools.cache(_signed)


def _signed(child: Parsed, issuer: Parsed) -> bool:
    try:
        child.certificate.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def find_paths(
    leaf: Parsed, pool: Sequence[Parsed], roots: Sequence[Parsed], signed: Signed
) -> Iterator[Path]:
    """Yield every path from the leaf to a root through intermediates of the pool, which may come in any order."""
    yield from _extend((leaf,), pool, roots, signed)


def _extend(path: Path, pool: Sequence[Parsed], roots: Sequence[Parsed], signed: Signed) -> Iterator[Path]:
    for root in roots:
        if signed(path[-1], root):
            yield (*path, root)
    for index, issuer in enumerate(pool):
        if signed(path[-1], issuer):
            yield from _extend((*path, issuer), [*pool[:index], *pool[index + 1 :]], roots, signed)


def missing_path(leaf: Parsed, pool: Sequence[Parsed], roots: Sequence[Parsed], signed: Signed) -> Violation:
    """Say why no path was found: a signature that is broken, or an issuer that nobody here trusts.

    Where a certificate names the very key that should have signed it, its signature is corrupt; another CA that
    took over a trusted name has another key.
    """
    end = leaf
    rest = list(pool)
    while issuer := next((candidate for candidate in rest if signed(end, candidate)), None):
        rest.remove(issuer)
        end = issuer
    if any(_names_key_of(end, issuer) for issuer in (*rest, *roots)):
        message = f"the signature on the certificate of {subject(end)} is corrupt"
        return Violation("signature", Alert.bad_certificate, message)
    message = f"no trusted CA vouches for it: the issuer {issuer_name(end)} is not in the bundle"
    return Violation("unknown-ca", Alert.unknown_ca, message)


def _names_key_of(child: Parsed, issuer: Parsed) -> bool:
    return child.issuer_key_id is not None and child.issuer_key_id == issuer.key_id


def issuer_violations(path: Path) -> Iterator[Violation]:
    """Yield what forbids the issuers of a path to issue (RFC 5280 section 6.1.4, X509-SVID section 4)."""
    for below, issuer in enumerate(path[1:]):
        constraints = issuer.find(x509.BasicConstraints)
        usage = issuer.find(x509.KeyUsage)
        if constraints is None or not constraints.ca:
            yield _not_a_ca(issuer, "is not a CA (basicConstraints CA:TRUE is missing)")
        elif constraints.path_length is not None and below > constraints.path_length:
            yield _not_a_ca(issuer, f"allows {constraints.path_length} CAs below it, and there are {below}")
        if usage is None or not usage.key_cert_sign:
            yield _not_a_ca(issuer, "may not sign certificates (key usage keyCertSign is missing)")


def _not_a_ca(issuer: Parsed, problem: str) -> Violation:
    return Violation("issuer", Alert.unknown_ca, f"the issuer {subject(issuer)} {problem}")


def subject(parsed: Parsed) -> str:
    """Return the subject's name for people, escaped."""
    return _text(lambda: parsed.certificate.subject)


def issuer_name(parsed: Parsed) -> str:
    """Return the issuer's name for people, escaped."""
    return _text(lambda: parsed.certificate.issuer)


def _text(name: Callable[[], x509.Name]) -> str:
    with warnings.catch_warnings():
        # The library warns the whole process of long common names, which Go nodes have and strangers may choose.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return f"'{shown(name().rfc4514_string(), 100)}'"
        except UNREADABLE:
            return "'(an unreadable name)'"
