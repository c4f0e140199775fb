"""From how a connection ended to the exception that says so: every row of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pki.alerts import Alert
from pki.errors import SvidError, Violation
from pki.spiffe import SpiffeId
from tndrl.errors import (
    AlpnMismatchError,
    CertificateRefusedError,
    ConnectError,
    ConnectionClosedError,
    NoAnswerError,
    PeerCertificateError,
    RefusedError,
    TndrlError,
    WrongIdentityError,
)
from tndrl.transport._aioquic.connection import Close
from tndrl.transport.codes import ErrorCode, TransportCode
from tndrl.transport.failures import CERTIFICATE_ALERTS, explain_close, explain_refusal
from tndrl.transport.identity import UnexpectedIdentityError

LOCAL = Close(code=ErrorCode.SHUTDOWN, application=True, reason="why", remote=False)
REMOTE = replace(LOCAL, remote=True)
REFUSAL = SvidError((Violation("rule", Alert.certificate_expired, "ended yesterday"),))


def explain(close: Close, **changes: object) -> TndrlError:
    """Explain a close of a connection that was up, unless told otherwise."""
    given = {"refusal": None, "established": True, "silent": False, "timeout": 7.0}
    return explain_close("host:1", close, **(given | changes))


def by_alert(alert: int, *, remote: bool = True) -> Close:
    """Return a close by a TLS alert."""
    return Close(code=0x100 + alert, application=False, reason="said so", remote=remote)


@pytest.mark.parametrize("alert", sorted(CERTIFICATE_ALERTS))
@pytest.mark.parametrize("established", [True, False])
def test_the_peer_refused_our_certificate(alert: Alert, established: bool) -> None:
    """Each certificate alert from the peer is a refusal, before and after we had verified the peer."""
    error = explain(by_alert(alert), established=established)
    assert isinstance(error, CertificateRefusedError)
    assert (error.alert, error.alert_name, error.reason) == (alert, alert.name, "said so")


def test_we_refused_the_peer() -> None:
    """Our own refusal explains the end, whatever else the close says."""
    error = explain(by_alert(Alert.no_application_protocol), refusal=REFUSAL, silent=True)
    assert type(error) is PeerCertificateError
    assert (error.alert, error.reason) == (Alert.certificate_expired, "ended yesterday")


def test_the_peer_is_somebody_else() -> None:
    """A valid certificate of somebody else names both identities."""
    wrong = UnexpectedIdentityError("spiffe://t/a", SpiffeId.parse("spiffe://t/b"), "no")
    error = explain_refusal("host:1", wrong)
    assert isinstance(error, WrongIdentityError)
    assert (error.expected, error.actual, error.alert) == (
        "spiffe://t/a",
        "spiffe://t/b",
        Alert.access_denied,
    )


@pytest.mark.parametrize("remote", [True, False])
def test_no_common_protocol(remote: bool) -> None:
    """A handshake without a common ALPN is a mismatch, whoever noticed."""
    assert isinstance(explain(by_alert(Alert.no_application_protocol, remote=remote)), AlpnMismatchError)


def test_an_application_code_is_never_an_alert() -> None:
    """An application close whose number looks like an alert is none."""
    error = explain(replace(by_alert(Alert.unknown_ca), application=True))
    assert isinstance(error, ConnectionClosedError)


def test_our_own_alert_is_no_refusal_of_us() -> None:
    """A certificate alert that we sent does not become the peer's refusal."""
    error = explain(by_alert(Alert.decrypt_error, remote=False), established=False)
    assert str(error).endswith("this side closed the connection during the handshake: decrypt_error said so")


def test_silence_before_the_handshake() -> None:
    """A peer that never answered did not answer."""
    error = explain(LOCAL, silent=True, established=False)
    assert isinstance(error, NoAnswerError)
    assert error.timeout == 7


def test_silence_after_the_handshake() -> None:
    """A peer that fell silent ended a connection."""
    error = explain(LOCAL, silent=True)
    assert isinstance(error, ConnectionClosedError)
    assert "idle timeout): nothing heard for 7 s" in str(error)


@pytest.mark.parametrize(("close", "who"), [(LOCAL, "this side"), (REMOTE, "the peer")])
def test_a_close_during_the_handshake(close: Close, who: str) -> None:
    """Any other end of a handshake says who ended it, with which code and words."""
    error = explain(close, established=False)
    assert type(error) is ConnectError
    assert f"{who} closed the connection during the handshake: SHUTDOWN why" in str(error)


def test_a_close_of_a_connection_that_was_up() -> None:
    """The facts of the close are the exception's attributes."""
    error = explain(replace(REMOTE, code=TransportCode.PROTOCOL_VIOLATION, application=False))
    assert isinstance(error, ConnectionClosedError)
    assert (error.code, error.code_name, error.application) == (0x0A, "PROTOCOL_VIOLATION", False)
    assert (error.remote, error.reason) == (True, "why")


def test_the_peers_words_are_made_safe() -> None:
    """A reason that a peer sent is escaped and shortened before anybody prints it."""
    error = explain(replace(REMOTE, reason="\x1b[31m\n" + "x" * 5000))
    assert str(error).isascii()
    assert str(error).isprintable()
    assert len(str(error)) < 400


@pytest.mark.parametrize("up", [False, True], ids=["handshake", "confirmed"])
def test_a_refusal_names_the_limit(up: bool) -> None:
    """CONNECTION_REFUSED is one error, with the peer's words and the cure, whenever it comes."""
    close = Close(code=2, application=False, reason="8 connections (limits.x)\n", remote=True)
    error = explain(close, established=up)
    assert isinstance(error, RefusedError)
    assert str(error) == (
        "host:1 refused the connection: 8 connections (limits.x)\\n; try again later, or raise the limit there"
    )
