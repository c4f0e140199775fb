"""TLS handshake messages as bytes: cut, rewritten, made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.tls import Epoch, HandshakeType

from rogue.script import Flight

KEY_UPDATE = bytes([HandshakeType.KEY_UPDATE, 0, 0, 1, 0])
END_OF_EARLY_DATA = bytes([HandshakeType.END_OF_EARLY_DATA, 0, 0, 0])
UNKNOWN = bytes([200, 0, 0, 4]) + b"what"
EMPTY_CERTIFICATE = bytes([HandshakeType.CERTIFICATE, 0, 0, 4, 0, 0, 0, 0])
NO_FINISHED = bytes([HandshakeType.FINISHED, 0, 0, 32]) + bytes(32)

ROOM = 1 << 20
"""Bytes a message may grow to: more than any side accepts."""


def build(push: Callable[[Buffer, Any], None], message: object) -> bytes:
    """Return ``message`` as ``push`` writes it."""
    buffer = Buffer(capacity=ROOM)
    push(buffer, message)
    return buffer.data


def certificate(chain: tuple[bytes, ...] | list[bytes], context: bytes = b"") -> bytes:
    """Return a Certificate message around ``chain``."""
    entries = [(der, b"") for der in chain]
    return build(tls.push_certificate, tls.Certificate(request_context=context, certificates=entries))


def certificate_verify(scheme: int, signature: bytes) -> bytes:
    """Return a CertificateVerify message."""
    return build(tls.push_certificate_verify, tls.CertificateVerify(algorithm=scheme, signature=signature))


def certificate_request() -> bytes:
    """Return a CertificateRequest message as a server may send it inside a handshake, never after it."""
    schemes = [tls.SignatureAlgorithm.ECDSA_SECP256R1_SHA256]
    return build(tls.push_certificate_request, tls.CertificateRequest(b"", signature_algorithms=schemes))


def change_server_hello(**changes: object) -> Callable[[bytes], bytes]:
    """Return an edit that sets fields of ServerHello and leaves other messages alone."""

    def edit(message: bytes) -> bytes:
        if message[0] != HandshakeType.SERVER_HELLO:
            return message
        hello = tls.pull_server_hello(Buffer(data=message))
        for name, value in changes.items():
            setattr(hello, name, value)
        return build(tls.push_server_hello, hello)

    return edit


def change_encrypted_extensions(message: bytes, alpn: str | None) -> bytes:
    """Return EncryptedExtensions with another answer to ALPN."""
    extensions = tls.pull_encrypted_extensions(Buffer(data=message))
    extensions.alpn_protocol = alpn
    return build(tls.push_encrypted_extensions, extensions)


def split(data: bytes) -> list[bytes]:
    """Return the handshake messages that ``data`` is made of."""
    messages = []
    while data:
        end = 4 + int.from_bytes(data[1:4], "big")
        messages.append(data[:end])
        data = data[end:]
    return messages


def moved(kind: HandshakeType, epoch: Epoch) -> Callable[[Flight], Flight]:
    """Return an arrangement that sends messages of one kind at another encryption level."""
    return lambda flight: [(epoch if message[0] == kind else at, message) for at, message in flight]


def twice(kind: HandshakeType) -> Callable[[Flight], Flight]:
    """Return an arrangement that sends messages of one kind two times."""
    return lambda flight: [part for part in flight for _ in range(2 if part[1][0] == kind else 1)]


def first(kind: HandshakeType) -> Callable[[Flight], Flight]:
    """Return an arrangement that sends messages of one kind before those of the same level."""
    return lambda flight: sorted(flight, key=lambda part: (part[0].value, part[1][0] != kind))


def without(kind: HandshakeType) -> Callable[[Flight], Flight]:
    """Return an arrangement that leaves messages of one kind out."""
    return lambda flight: [part for part in flight if part[1][0] != kind]


def before(kind: HandshakeType, inserted: bytes) -> Callable[[Flight], Flight]:
    """Return an arrangement that puts ``inserted`` before each message of one kind, at its level."""

    def arrange(flight: Flight) -> Flight:
        return [
            part
            for epoch, message in flight
            for part in ([(epoch, inserted)] if message[0] == kind else []) + [(epoch, message)]
        ]

    return arrange


def begun_early(kind: HandshakeType, count: int = 8) -> Callable[[Flight], Flight]:
    """Return an arrangement that sends the first bytes of messages of one kind in Initial packets."""

    def arrange(flight: Flight) -> Flight:
        early = [(Epoch.INITIAL, message[:count]) for _, message in flight if message[0] == kind]
        rest = [(at, message[count:] if message[0] == kind else message) for at, message in flight]
        return (
            [part for part in rest if part[0] is Epoch.INITIAL]
            + early
            + [part for part in rest if part[0] is not Epoch.INITIAL]
        )

    return arrange


def changed_client_hello(change: Callable[[tls.ClientHello], None]) -> Callable[[Flight], Flight]:
    """Return an arrangement that changes ClientHello on its way: the other side must refuse it at once."""

    def arrange(flight: Flight) -> Flight:
        return [
            (at, _changed(part, change) if part[0] == HandshakeType.CLIENT_HELLO else part)
            for at, part in flight
        ]

    return arrange


def _changed(message: bytes, change: Callable[[tls.ClientHello], None]) -> bytes:
    hello = tls.pull_client_hello(Buffer(data=message))
    change(hello)
    return build(tls.push_client_hello, hello)


PARAMETERS = 0x39
"""The extension ``quic_transport_parameters`` (RFC 9001 section 8.2)."""

Parameters = Callable[[bytes], list[bytes]]
"""Takes the transport parameters that a sound peer sends; returns the contents of the extensions sent instead."""


def _exchanged(extensions: list[tuple[int, bytes]], parameters: Parameters) -> list[tuple[int, bytes]]:
    found = dict(extensions)[PARAMETERS]
    rest = [extension for extension in extensions if extension[0] != PARAMETERS]
    return rest + [(PARAMETERS, content) for content in parameters(found)]


def client_parameters(parameters: Parameters) -> Callable[[Flight], Flight]:
    """Return an arrangement that exchanges the transport parameters of a client."""

    def change(hello: tls.ClientHello) -> None:
        hello.other_extensions = _exchanged(hello.other_extensions, parameters)

    return changed_client_hello(change)


def server_parameters(parameters: Parameters) -> Callable[[bytes], bytes]:
    """Return an edit that exchanges the transport parameters of a server."""

    def edit(message: bytes) -> bytes:
        if message[0] != HandshakeType.ENCRYPTED_EXTENSIONS:
            return message
        extensions = tls.pull_encrypted_extensions(Buffer(data=message))
        extensions.other_extensions = _exchanged(extensions.other_extensions, parameters)
        return build(tls.push_encrypted_extensions, extensions)

    return edit
