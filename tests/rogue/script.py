"""What a rogue peer does: everything a test may choose about its side of a handshake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aioquic.tls import Epoch, SessionTicket, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from rogue.signing import sign

Flight = list[tuple[Epoch, bytes]]
"""Handshake messages in the order in which they are sent, each with its encryption level."""

Prove = Callable[[bytes], tuple[int, bytes]]
"""Takes what CertificateVerify signs (RFC 8446 section 4.4.3); returns the scheme and the signature."""


def same_message(message: bytes) -> bytes:
    """Leave a handshake message as it is."""
    return message


def same_flight(flight: Flight) -> Flight:
    """Leave a flight as it is."""
    return flight


@dataclass(frozen=True, kw_only=True)
class Script:
    """One rogue's behaviour. By default it does nothing wrong, but has no certificate."""

    chain: Sequence[bytes] = ()
    """Certificates in DER, or what shall pass for it, leaf first; none makes an empty Certificate message."""
    key: CertificateIssuerPrivateKeyTypes | None = None
    """Signs CertificateVerify, with the scheme that suits it."""
    prove: Prove | None = None
    """Signs CertificateVerify instead of ``key``."""
    version: int | None = None
    """The QUIC version in which a client begins; aioquic's first one if None."""
    alpn: Sequence[str] | None = ("tndrl",)
    """A client offers these; a server answers with the first, whatever was offered. None: no extension."""
    versions: Sequence[int] | None = None
    groups: Sequence[int] | None = None
    schemes: Sequence[int] | None = None
    """Offered instead of aioquic's own: TLS versions, groups with key shares, signature schemes."""
    session_id: bytes = b""
    """``legacy_session_id`` of a client's hello, or its echo in a server's."""
    request_certificate: bool = True
    """Whether a server asks for a certificate."""
    edit: Callable[[bytes], bytes] = same_message
    """Rewrites each handshake message before it enters the transcript, which stays that of both sides."""
    arrange: Callable[[Flight], Flight] = same_flight
    """Rearranges each flight after the transcript is made."""
    whole_flight: bool = False
    """Send nothing, not even an acknowledgement, before the whole flight of the peer is there."""
    afterwards: bytes = b""
    """Handshake bytes sent in 1-RTT packets as soon as the handshake is complete on this side."""
    stream: bytes = b""
    """Bytes that a client sends on its first stream together with its last handshake message, or with a ticket as early
    data."""
    ticket: SessionTicket | None = None
    """A session that a client wants to resume."""
    on_ticket: Callable[[SessionTicket], None] | None = None
    """Takes the tickets that a client receives, and those that a server issues if it has this."""
    resume: Callable[[bytes], SessionTicket | None] | None = None
    """Finds the session that a client wants a server to resume, by its ticket."""

    deaf: bool = False
    """Whether it goes on as if nothing was said when the other side resets a stream or asks it to stop."""

    def proof(self, content: bytes) -> tuple[int, bytes]:
        """Return the scheme and the signature of CertificateVerify over ``content``."""
        if self.prove is not None:
            return self.prove(content)
        if self.key is None:
            return SignatureAlgorithm.ECDSA_SECP256R1_SHA256, bytes(70)
        return sign(self.key, content)
