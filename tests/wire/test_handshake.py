"""Handshakes that go wrong in their messages, whatever the certificate: in both roles, with the code on the wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aioquic.buffer import Buffer
from aioquic.tls import Epoch, Group, HandshakeType, SignatureAlgorithm

from rogue import messages
from rogue.script import Prove, Script
from rogue.signing import sign
from support import certs
from tndrl.transport.version_negotiation import VERSIONS
from wire.stages import Caller, Stage

TRANSPORT_PARAMETER_ERROR = 0x08
VERSION_NEGOTIATION_ERROR = 0x11
PROTOCOL_VIOLATION = 0x0A
CRYPTO_BUFFER_EXCEEDED = 0x0D
UNEXPECTED_MESSAGE = 0x10A
HANDSHAKE_FAILURE = 0x128
ILLEGAL_PARAMETER = 0x12F
UNKNOWN_CA = 0x130
DECRYPT_ERROR = 0x133
PROTOCOL_VERSION = 0x146
MISSING_EXTENSION = 0x16D
CERTIFICATE_REQUIRED = 0x174
NO_APPLICATION_PROTOCOL = 0x178
EITHER = {PROTOCOL_VIOLATION, UNEXPECTED_MESSAGE}

P256_SHA256 = SignatureAlgorithm.ECDSA_SECP256R1_SHA256
CERTIFICATE = HandshakeType.CERTIFICATE
CERTIFICATE_VERIFY = HandshakeType.CERTIFICATE_VERIFY
FINISHED = HandshakeType.FINISHED

SWAPPED_ROLE = {b"TLS 1.3, client": b"TLS 1.3, server", b"TLS 1.3, server": b"TLS 1.3, client"}


def valid(kind: str = "p256", **changes: object) -> Script:
    """Return the script of a peer with a valid certificate, honest but for ``changes``."""
    made = certs.node_leaf("rogue", private=certs.key(kind))
    return Script(**({"chain": made.chain_der, "key": made.key} | changes))


def proving(prove: Prove, kind: str = "p256") -> Callable[[], Script]:
    """Return the maker of a script that signs CertificateVerify with ``prove``."""
    return lambda: valid(kind, prove=prove)


def signed_by(kind: str, scheme: int) -> Prove:
    """Return a proof with a kind's key that claims ``scheme``."""
    return lambda content: sign(certs.key(kind), content, scheme)


def other_key(content: bytes) -> tuple[int, bytes]:
    """Sign with the key of somebody else."""
    return sign(certs.key("p256", "somebody else"), content)


def other_role(content: bytes) -> tuple[int, bytes]:
    """Sign what the other side signs (RFC 8446 section 4.4.3: the context string tells them apart)."""
    for ours, theirs in SWAPPED_ROLE.items():
        if ours in content:
            return sign(certs.key("p256"), content.replace(ours, theirs))
    raise AssertionError("no context string")


def broken(content: bytes) -> tuple[int, bytes]:
    """Sign, then turn one bit."""
    scheme, signature = sign(certs.key("p256"), content)
    return scheme, signature[:-1] + bytes([signature[-1] ^ 1])


PROOFS: dict[str, tuple[Callable[[], Script], set[int]]] = {
    "TLS-38": (
        proving(signed_by("p384", P256_SHA256), "p384"),
        {ILLEGAL_PARAMETER, DECRYPT_ERROR},
    ),
    "TLS-41 other key": (proving(other_key), {DECRYPT_ERROR}),
    "TLS-41 other role": (proving(other_role), {DECRYPT_ERROR}),
    "TLS-41 broken": (proving(broken), {DECRYPT_ERROR}),
    "TLS-41 empty": (proving(lambda _: (P256_SHA256, b"")), {DECRYPT_ERROR}),
    "TLS-42 rsa_pkcs1_sha256": (
        proving(signed_by("rsa2048", SignatureAlgorithm.RSA_PKCS1_SHA256), "rsa2048"),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-42 rsa_pkcs1_sha1": (
        proving(lambda _: (SignatureAlgorithm.RSA_PKCS1_SHA1, bytes(256)), "rsa2048"),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-42 not advertised": (
        proving(lambda _: (SignatureAlgorithm.ECDSA_SHA1, bytes(70))),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-42 unknown": (proving(lambda _: (0xFEED, bytes(70))), {ILLEGAL_PARAMETER}),
}
"""CertificateVerify messages, bad in both roles."""

ORDERS: dict[str, Callable[[], Script]] = {
    "TLS-53 Finished first": lambda: valid(arrange=messages.first(FINISHED)),
    "TLS-53 Certificate twice": lambda: valid(arrange=messages.twice(CERTIFICATE)),
    "TLS-53 no Certificate": lambda: valid(arrange=messages.without(CERTIFICATE)),
    "TLS-53 no CertificateVerify": lambda: valid(arrange=messages.without(CERTIFICATE_VERIFY)),
    "TLS-53 CertificateVerify first": lambda: valid(arrange=messages.first(CERTIFICATE_VERIFY)),
    "TLS-53 unknown message": lambda: valid(arrange=messages.before(CERTIFICATE, messages.UNKNOWN)),
    "TLS-53 Certificate in Initial": lambda: valid(
        arrange=messages.moved(CERTIFICATE, Epoch.INITIAL), whole_flight=True
    ),
    "TLS-53 Certificate begun in Initial": lambda: valid(
        arrange=messages.begun_early(CERTIFICATE), whole_flight=True
    ),
    "TLS-51 KeyUpdate inside": lambda: valid(arrange=messages.before(CERTIFICATE, messages.KEY_UPDATE)),
    "TLS-51 EndOfEarlyData inside": lambda: valid(
        arrange=messages.before(CERTIFICATE, messages.END_OF_EARLY_DATA)
    ),
}
"""Messages in the wrong order or place, bad in both roles."""

LONG = bytes([200, 0, 8, 0]) + bytes(2048)
"""A message that makes the flight longer than a datagram: what comes after the breach is fed to the node too."""


def stranger_first(message: bytes) -> bytes:
    """Put a Certificate message of a CA that nobody trusts before the valid one."""
    if message[0] != CERTIFICATE:
        return message
    return messages.certificate([certs.leaf(certs.world().stranger).der]) + message


AFTERWARDS = {
    "TLS-51 KeyUpdate": messages.KEY_UPDATE,
    "TLS-51 CertificateRequest": messages.certificate_request(),
    "TLS-51 EndOfEarlyData": messages.END_OF_EARLY_DATA,
    "TLS-53 Certificate": messages.EMPTY_CERTIFICATE,
    "TLS-53 Finished": messages.NO_FINISHED,
    "TLS-53 unknown": messages.UNKNOWN,
}
"""Messages that nobody may send after the handshake, in either role."""

TOO_LARGE: dict[str, tuple[Callable[[], Script], set[int]]] = {
    "QUIC-05 Certificate over 64 KiB": (
        lambda: valid(chain=[certs.node_leaf("rogue").der, bytes(64 * 1024)]),
        {CRYPTO_BUFFER_EXCEEDED},
    ),
    "QUIC-05 CertificateVerify over 16 KiB": (
        proving(lambda _: (P256_SHA256, bytes(16 * 1024))),
        {CRYPTO_BUFFER_EXCEEDED},
    ),
}
"""Handshake messages that would fill memory, bad in both roles."""

NO_SUITE = 0x1304
"""TLS_AES_128_CCM_SHA256, which nobody here offers."""


def parameter(kind: int, content: bytes) -> bytes:
    """Return one transport parameter (RFC 9000 section 18)."""
    return bytes([kind, len(content)]) + content


def exchanged(sound: bytes, kind: int, content: bytes) -> bytes:
    """Return transport parameters of which one is another."""
    buffer, changed = Buffer(data=sound), b""
    while not buffer.eof():
        start, found = buffer.tell(), buffer.pull_uint_var()
        buffer.pull_bytes(buffer.pull_uint_var())
        changed += parameter(kind, content) if found == kind else sound[start : buffer.tell()]
    assert changed != sound
    return changed


V1, V2 = (version.to_bytes(4, "big") for version in VERSIONS)

PARAMETERS: dict[str, tuple[messages.Parameters, set[int]]] = {
    # Who forges a Version Negotiation on the way cannot forge this (RFC 9368 section 4).
    "QUIC-07 another version in use": (
        lambda sound: [exchanged(sound, 0x11, V2 + V2 + V1)],
        {VERSION_NEGOTIATION_ERROR},
    ),
    "TLS-50 none": (lambda _: [], {MISSING_EXTENSION}),
    "TLS-50 cut off": (lambda sound: [sound[:-1]], {TRANSPORT_PARAMETER_ERROR}),
    "TLS-50 malformed": (lambda _: [parameter(4, b"\xc0")], {TRANSPORT_PARAMETER_ERROR}),
    "TLS-50 too small": (lambda sound: [sound + parameter(3, b"\x44\xaf")], {TRANSPORT_PARAMETER_ERROR}),
    "TLS-50 duplicate": (lambda sound: [sound + parameter(4, b"\x01")], {TRANSPORT_PARAMETER_ERROR}),
    "TLS-50 duplicate unknown": (
        lambda sound: [sound + 2 * parameter(27, b"")],
        {TRANSPORT_PARAMETER_ERROR},
    ),
    "TLS-50 two extensions": (lambda sound: [sound, sound], {ILLEGAL_PARAMETER}),
}
"""Transport parameters, bad in both roles."""

SERVERS_OWN = {
    "original_destination_connection_id": parameter(0, bytes(8)),
    "stateless_reset_token": parameter(2, bytes(16)),
    "preferred_address": parameter(13, bytes(4 + 2 + 16 + 2) + b"\x04abcd" + bytes(16)),
    "retry_source_connection_id": parameter(16, bytes(8)),
}
"""Transport parameters that no client may send (RFC 9000 section 18.2)."""


def client_with(parameters: messages.Parameters) -> Callable[[], Script]:
    """Return a maker of clients with these transport parameters."""
    return lambda: valid(arrange=messages.client_parameters(parameters))


def server_with(parameters: messages.Parameters) -> Callable[[], Script]:
    """Return a maker of servers with these transport parameters."""
    return lambda: valid(edit=messages.server_parameters(parameters))


CLIENTS: dict[str, tuple[Callable[[], Script], set[int]]] = {
    **PROOFS,
    **TOO_LARGE,
    "TLS-01 and Finished": (
        lambda: Script(arrange=lambda flight: [*flight, *([(Epoch.HANDSHAKE, LONG)] if flight[1:] else [])]),
        {CERTIFICATE_REQUIRED},
    ),
    "TLS-02 and a valid one": (lambda: valid(edit=stranger_first), {UNKNOWN_CA}),
    **{name: (make, EITHER if "EndOf" in name else {UNEXPECTED_MESSAGE}) for name, make in ORDERS.items()},
    "TLS-47 none": (lambda: valid(alpn=None), {NO_APPLICATION_PROTOCOL}),
    "TLS-47 h3": (lambda: valid(alpn=("h3",)), {NO_APPLICATION_PROTOCOL}),
    "TLS-47 others": (lambda: valid(alpn=("tndrl2", "TNDRL", "tndr")), {NO_APPLICATION_PROTOCOL}),
    "TLS-48": (lambda: valid(versions=[0x0303]), {PROTOCOL_VERSION}),
    "TLS-48 and older": (lambda: valid(versions=[0x0303, 0x0302, 0x0301]), {PROTOCOL_VERSION}),
    "TLS-49 groups": (lambda: valid(groups=[Group.GREASE]), {HANDSHAKE_FAILURE}),
    "TLS-49 schemes": (lambda: valid(schemes=[SignatureAlgorithm.ED448]), {HANDSHAKE_FAILURE}),
    "TLS-49 suites": (
        lambda: valid(
            arrange=messages.changed_client_hello(lambda hello: setattr(hello, "cipher_suites", [NO_SUITE]))
        ),
        {HANDSHAKE_FAILURE},
    ),
    **{name: (client_with(bad), codes) for name, (bad, codes) in PARAMETERS.items()},
    **{
        f"TLS-50 {name}": (
            client_with(lambda sound, own=own: [sound + own]),
            {TRANSPORT_PARAMETER_ERROR},
        )
        for name, own in SERVERS_OWN.items()
    },
    "TLS-51 session id": (lambda: valid(session_id=bytes(32)), {PROTOCOL_VIOLATION}),
    "QUIC-05 ClientHello over 16 KiB": (
        lambda: valid(arrange=lambda _: [(Epoch.INITIAL, bytes([1, 0, 64, 1]) + bytes(500))]),
        {CRYPTO_BUFFER_EXCEEDED},
    ),
}
"""What a rogue client may do before the handshake is complete, and the codes due to it."""

SERVERS: dict[str, tuple[Callable[[], Script], set[int]]] = {
    **PROOFS,
    **TOO_LARGE,
    "TLS-02 and a valid one": (lambda: valid(edit=stranger_first), {UNKNOWN_CA}),
    **{name: (make, EITHER if "EndOf" in name else {UNEXPECTED_MESSAGE}) for name, make in ORDERS.items()},
    "TLS-47 none": (lambda: valid(alpn=None), {NO_APPLICATION_PROTOCOL}),
    "TLS-47 h3": (lambda: valid(alpn=("h3",)), {NO_APPLICATION_PROTOCOL}),
    "TLS-48": (
        lambda: valid(edit=messages.change_server_hello(supported_version=0x0303)),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-48 none": (
        lambda: valid(edit=messages.change_server_hello(supported_version=None)),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-49 suite that was not offered": (
        lambda: valid(edit=messages.change_server_hello(cipher_suite=NO_SUITE)),
        {ILLEGAL_PARAMETER},
    ),
    "TLS-49 group that was not offered": (
        lambda: valid(edit=messages.change_server_hello(key_share=(Group.GREASE, bytes(32)))),
        {ILLEGAL_PARAMETER},
    ),
    **{name: (server_with(bad), codes) for name, (bad, codes) in PARAMETERS.items()},
    "TLS-51 session id": (lambda: valid(session_id=bytes(32)), {ILLEGAL_PARAMETER}),
    "TLS-53 EncryptedExtensions in Initial": (
        lambda: valid(arrange=messages.moved(HandshakeType.ENCRYPTED_EXTENSIONS, Epoch.INITIAL)),
        {UNEXPECTED_MESSAGE},
    ),
    "TLS-53 EncryptedExtensions begun in Initial": (
        lambda: valid(arrange=messages.begun_early(HandshakeType.ENCRYPTED_EXTENSIONS)),
        {UNEXPECTED_MESSAGE},
    ),
    "TLS-53 CertificateRequest twice": (
        lambda: valid(arrange=messages.twice(HandshakeType.CERTIFICATE_REQUEST)),
        {UNEXPECTED_MESSAGE},
    ),
}
"""The same for a rogue server."""


def rows(table: dict[str, object], role: str) -> list[object]:
    """Return a table's values with ids like ``TLS-42_unknown-server``; the role is our node's."""
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), id=f"{name.replace(' ', '_')}-{role}"
        )
        for name, value in table.items()
    ]


@pytest.mark.parametrize(("make", "codes"), rows(CLIENTS, "server"))
async def test_a_server_refuses_the_handshake(
    stage: Stage, make: Callable[[], Script], codes: set[int]
) -> None:
    """The client receives the code of its breach; nothing is routed or written, one line tells of it."""
    closed = await stage.refused(make())
    assert closed.code in codes
    assert closed.frame_type == 0x06  # CRYPTO


@pytest.mark.parametrize(("make", "codes"), rows(SERVERS, "client"))
async def test_a_client_refuses_the_handshake(
    caller: Caller, make: Callable[[], Script], codes: set[int]
) -> None:
    """The server receives the code of its breach, and the caller a typed error that names the address."""
    closed, _error = await caller.refuses(make())
    assert closed.code in codes
    assert closed.frame_type == 0x06  # CRYPTO


@pytest.mark.parametrize("message", rows(AFTERWARDS, "server"))
async def test_a_server_refuses_a_message_after_the_handshake(stage: Stage, message: bytes) -> None:
    """A client that was accepted is closed for a handshake message that does not belong there."""
    closed = await stage.breaks(valid(afterwards=message))
    assert closed.code in EITHER


@pytest.mark.parametrize("message", rows(AFTERWARDS, "client"))
async def test_a_client_refuses_a_message_after_the_handshake(caller: Caller, message: bytes) -> None:
    """A server that was accepted is closed for a handshake message that does not belong there."""
    closed = await caller.breaks(valid(afterwards=message))
    assert closed.code in EITHER


def replayed(recorded: list[tuple[int, bytes]]) -> Prove:
    """Return a proof that signs the first time and says the same ever after."""

    def prove(content: bytes) -> tuple[int, bytes]:
        recorded.append(recorded[0] if recorded else sign(certs.key("p256"), content))
        return recorded[-1]

    return prove


async def test_a_server_refuses_a_replayed_proof(stage: Stage) -> None:
    """TLS-41: the CertificateVerify of an accepted handshake proves nothing in the next one."""
    recorded: list[tuple[int, bytes]] = []
    await stage.accepted(valid(prove=replayed(recorded)))
    closed = await stage.refused(valid(prove=replayed(recorded)))
    assert closed.code == DECRYPT_ERROR
    assert recorded[0] == recorded[1]


async def test_a_client_refuses_a_replayed_proof(caller: Caller) -> None:
    """TLS-41: the same from a server."""
    recorded: list[tuple[int, bytes]] = []
    await caller.accepts(valid(prove=replayed(recorded)))
    closed, _error = await caller.refuses(valid(prove=replayed(recorded)))
    assert closed.code == DECRYPT_ERROR
    assert recorded[0] == recorded[1]
