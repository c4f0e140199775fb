"""Name constraints: which names an issuer may put under its signature (RFC 5280 section 4.2.1.10).

Those on URIs, DNS names and IP addresses are understood. What a critical constraint says about other names nobody here
can tell, so it is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from pki.alerts import Alert
from pki.errors import Violation, shown
from pki.parsed import Parsed
from pki.path import Path, subject


def constraint_violations(path: Path) -> Iterator[Violation]:
    """Yield what the issuers of a path do not allow those below them to be called, the leaf first in the path."""
    for index, issuer in enumerate(path):
        constraints = issuer.find(x509.NameConstraints)
        if index == 0 or constraints is None:
            continue
        problem = _not_understood(issuer, constraints) or next(_refused(path[:index], constraints), None)
        if problem is not None:
            message = f"the issuer {subject(issuer)} {problem}"
            yield Violation("name-constraints", Alert.certificate_unknown, message)


def constrains_uris(path: Path) -> bool:
    """Whether an issuer constrains URIs, which the library cannot read."""
    return any(
        isinstance(name, x509.UniformResourceIdentifier)
        for issuer in path[1:]
        if (constraints := issuer.find(x509.NameConstraints)) is not None
        for name in _subtrees(constraints)
    )


def _subtrees(constraints: x509.NameConstraints) -> Iterator[x509.GeneralName]:
    yield from constraints.permitted_subtrees or ()
    yield from constraints.excluded_subtrees or ()


def _not_understood(issuer: Parsed, constraints: x509.NameConstraints) -> str | None:
    unknown = {type(name).__name__ for name in _subtrees(constraints) if type(name) not in _WITHIN}
    if not unknown or not issuer.is_critical(x509.NameConstraints):
        return None
    return f"constrains names of a kind that is not understood ({', '.join(sorted(unknown))})"


def _refused(below: Path, constraints: x509.NameConstraints) -> Iterator[str]:
    for index, parsed in enumerate(below):
        certificate = parsed.certificate
        if index and certificate.issuer == certificate.subject:
            continue  # RFC 5280 section 6.1.4: a CA's new key under its own name
        names = parsed.find(x509.SubjectAlternativeName) or ()
        for name in names:
            if not _allowed(name, constraints):
                yield f"does not allow the name '{shown(str(name.value), 100)}'"


def _allowed(name: x509.GeneralName, constraints: x509.NameConstraints) -> bool:
    within = _WITHIN.get(type(name))
    if within is None:
        return True  # only a constraint of its own kind could forbid it

    def of_its_kind(subtrees: list[x509.GeneralName] | None) -> list[Any]:
        return [subtree.value for subtree in subtrees or () if type(subtree) is type(name)]

    permitted, excluded = (
        of_its_kind(constraints.permitted_subtrees),
        of_its_kind(constraints.excluded_subtrees),
    )
    try:
        return (not permitted or any(within(name.value, subtree) for subtree in permitted)) and not any(
            within(name.value, subtree) for subtree in excluded
        )
    except ValueError:
        return False


def _uri_within(uri: str, constraint: str) -> bool:
    """Whether a URI's host is the one that is named, or below a domain that begins with a dot. Raises ValueError."""
    host = urlsplit(uri).hostname
    if not host or not constraint or _is_address(host):
        raise ValueError("a constraint on URIs applies to a host's name")
    host, constraint = host.lower(), constraint.lower()
    return host.endswith(constraint) and host != constraint if constraint[0] == "." else host == constraint


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _dns_within(name: str, constraint: str) -> bool:
    """Whether a DNS name is the one that is named or below it. Raises ValueError."""
    if not constraint:
        raise ValueError("a constraint without a name")
    name, domain = name.lower().removeprefix("*."), constraint.lower().lstrip(".")
    return name == domain or name.endswith("." + domain)


def _address_within(address: Any, network: Any) -> bool:
    return address in network


_WITHIN: dict[type[x509.GeneralName], Callable[[Any, Any], bool]] = {
    x509.UniformResourceIdentifier: _uri_within,
    x509.DNSName: _dns_within,
    x509.IPAddress: _address_within,
}
