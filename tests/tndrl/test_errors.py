"""What Tndrl raises: one tree, facts as attributes, a sentence with the cure."""

from __future__ import annotations

import inspect

import pytest

from tndrl import errors
from tndrl.errors import (
    AlpnMismatchError,
    CertificateRefusedError,
    ConfigError,
    ConnectError,
    ConnectionClosedError,
    NameResolutionError,
    NoAnswerError,
    NoRouteError,
    PeerCertificateError,
    PortClosedError,
    StateTransitionError,
    StreamRefusedError,
    StreamResetError,
    TndrlError,
    UsageError,
    WrongIdentityError,
    peer_text,
)

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, TndrlError)
]

CLOSED = {"code": 6, "code_name": "SHUTDOWN", "application": True}

SENTENCES: dict[str, TndrlError] = {
    "f.yaml:3: server.addr: is no address": ConfigError(
        "is no address", key="server.addr", source="f.yaml", line=3
    ),
    "TNDRL_ADDR: server.addr: is no address": ConfigError(
        "is no address", key="server.addr", source="TNDRL_ADDR"
    ),
    "is no address": ConfigError("is no address"),
    "closed already": UsageError("closed already"),
    "a node that is STOPPED cannot become READY": StateTransitionError("STOPPED", "READY"),
    "cannot connect to b:1": ConnectError("b:1"),
    "cannot connect to b:1: odd": ConnectError("b:1", "odd"),
    "cannot find b:1: no such name; check the host name": NameResolutionError("b:1", "no such name"),
    "no route leads to b:1 (no net); check the address and the network of this host": NoRouteError(
        "b:1", "no net"
    ),
    "no answer from b:1 within 2.5 s; check the address and that UDP passes the firewalls between": NoAnswerError(
        "b:1", 2.5
    ),
    "nobody listens on b:1 (UDP port closed); check the port and that the node runs": PortClosedError("b:1"),
    "b:1 does not speak tndrl (no common ALPN protocol); check that it is a Tndrl node's port": AlpnMismatchError(
        "b:1"
    ),
    "refused the certificate of b:1: expired (certificate_expired)": PeerCertificateError(
        "b:1", 45, "certificate_expired", "expired"
    ),
    "b:1 is not X: its certificate says Y (access_denied); check the address, or the identity expected of it": (
        WrongIdentityError("b:1", 49, "access_denied", "X", "Y")
    ),
    "b:1 refused our certificate: unknown_ca; "
    "check it with 'tndrl-pki verify' against the CA the peer trusts": CertificateRefusedError(
        "b:1", 48, "unknown_ca", ""
    ),
    "b:1 refused our certificate: unknown_ca (who?); "
    "check it with 'tndrl-pki verify' against the CA the peer trusts": CertificateRefusedError(
        "b:1", 48, "unknown_ca", "who?"
    ),
    "connection to b:1 closed by the peer (SHUTDOWN): bye": ConnectionClosedError(
        "b:1", **CLOSED, remote=True, reason="bye"
    ),
    "connection to b:1 closed by this side (SHUTDOWN)": ConnectionClosedError(
        "b:1", **CLOSED, remote=False, reason=""
    ),
    "stream reset by the peer: CANCELLED": StreamResetError(5, "CANCELLED", remote=True),
    "stream reset by this side: CANCELLED": StreamResetError(5, "CANCELLED", remote=False),
    "stream refused: no more": StreamRefusedError("no more"),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences(sentence: str) -> None:
    """Each exception writes its sentence from its facts."""
    assert str(SENTENCES[sentence]) == sentence


def test_every_class_is_in_the_drawing() -> None:
    """The tree at the top of the module names every class, under its parent."""
    drawing = (errors.__doc__ or "").split("\n\n")[1].splitlines()
    parents: list[str] = []
    for line in drawing:
        name = line.lstrip("│├└─ ").split()[0]
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        parents[depth:] = [name]
        if depth:
            assert getattr(errors, name).__base__.__name__ == parents[depth - 1]
    drawn = {line.lstrip("│├└─ ").split()[0] for line in drawing}
    assert {cls.__name__ for cls in CLASSES} == drawn


def test_facts_are_attributes() -> None:
    """Who branches on an exception needs no text."""
    wrong = SENTENCES[next(name for name in SENTENCES if "is not X" in name)]
    assert isinstance(wrong, WrongIdentityError)
    assert (wrong.address, wrong.alert, wrong.expected, wrong.actual) == ("b:1", 49, "X", "Y")
    closed = ConnectionClosedError("b:1", **CLOSED, remote=True, reason="bye")
    assert (closed.code, closed.application, closed.remote, closed.reason) == (6, True, True, "bye")
    mistake = ConfigError("p", key="k", source="s", line=1)
    assert (mistake.problem, mistake.key, mistake.source, mistake.line) == ("p", "k", "s", 1)
    assert NoAnswerError("b:1", 2).timeout == 2
    assert StreamRefusedError("no more").reason == "no more"


@pytest.mark.parametrize(
    ("text", "safe"), [("plain", "plain"), ("\x1b[31m", "\\x1b[31m"), ("a\nb", "a\\nb"), ("\u00e4", "\\xe4")]
)
def test_peers_words_are_made_safe(text: str, safe: str) -> None:
    """Text of a peer is escaped to printable ASCII."""
    assert peer_text(text) == safe


def test_peers_words_are_shortened() -> None:
    """Text of a peer has 200 characters at most, or as many as asked for."""
    assert len(peer_text("\x00" * 1000)) <= 200
    assert len(peer_text("x" * 1000, 50)) <= 50
