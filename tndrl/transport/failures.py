"""From how a connection ended to the exception that says so: one table, at one edge."""

from __future__ import annotations

from pki.alerts import Alert
from pki.svid import SvidError
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
    peer_text,
)
from tndrl.transport._aioquic.connection import Close
from tndrl.transport.codes import TransportCode, alert_name, alert_of, code_name
from tndrl.transport.identity import UnexpectedIdentityError

CERTIFICATE_ALERTS = frozenset(
    {
        Alert.bad_certificate,
        Alert.unsupported_certificate,
        Alert.certificate_revoked,
        Alert.certificate_expired,
        Alert.certificate_unknown,
        Alert.unknown_ca,
        Alert.access_denied,
        Alert.decrypt_error,
        Alert.certificate_required,
    }
)
"""Alerts with which a peer refuses a certificate (RFC 8446 section 6.2)."""


def explain_close(
    label: str,
    close: Close,
    *,
    refusal: SvidError | None,
    established: bool,
    silent: bool,
    timeout: float,
) -> TndrlError:
    """Return the exception for a connection to ``label`` that ended as ``close`` says.

    ``refusal`` is why we refused the peer, ``established`` whether we had verified it before, ``silent`` whether the
    connection timed out after ``timeout`` seconds.
    """
    if refusal is not None:
        return explain_refusal(label, refusal)
    if silent:
        return _silence(label, established=established, timeout=timeout)
    alert = None if close.application else alert_of(close.code)
    reason = peer_text(close.reason) if close.remote else close.reason
    if alert == Alert.no_application_protocol:
        return AlpnMismatchError(label)
    if close.remote and alert in CERTIFICATE_ALERTS:
        return CertificateRefusedError(label, alert, alert_name(alert), reason)
    if close.remote and not close.application and close.code == TransportCode.CONNECTION_REFUSED:
        return RefusedError(label, reason)
    name = code_name(close.code, application=close.application)
    if not established:
        who = "the peer" if close.remote else "this side"
        return ConnectError(
            label, f"{who} closed the connection during the handshake: {name} {reason}".rstrip()
        )
    return ConnectionClosedError(
        label,
        code=close.code,
        code_name=name,
        application=close.application,
        remote=close.remote,
        reason=reason,
    )


def explain_refusal(label: str, refusal: SvidError) -> PeerCertificateError:
    """Return the exception for a peer whose certificate we refused."""
    name = alert_name(refusal.alert)
    if isinstance(refusal, UnexpectedIdentityError):
        return WrongIdentityError(label, refusal.alert, name, refusal.expected, refusal.actual)
    return PeerCertificateError(label, refusal.alert, name, str(refusal))


def _silence(label: str, *, established: bool, timeout: float) -> TndrlError:
    return silence(label, timeout) if established else NoAnswerError(label, timeout)


def silence(label: str, seconds: float) -> ConnectionClosedError:
    """Return the exception for a connection on which nothing was heard for ``seconds``."""
    return ConnectionClosedError(
        label,
        code=0,
        code_name="idle timeout",
        application=False,
        remote=False,
        reason=f"nothing heard for {seconds:g} s",
    )
