"""Our part of the TLS handshake: each override by what it refuses, and that aioquic still has what it overrides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from inspect import signature

import pytest
from aioquic import tls
from aioquic.tls import Epoch, HandshakeType, SignatureAlgorithm

from pki.alerts import Alert
from rogue import messages
from rogue.peer import RogueClient, RogueServer
from rogue.script import Script
from rogue.signing import sign
from support import certs, streams
from tndrl.errors import CertificateRefusedError, ConnectError, PeerCertificateError, TndrlError
from tndrl.transport._aioquic.tls import MAX_CERTIFICATE_MESSAGE, MAX_MESSAGE, VerifyingContext, alert
from tndrl.transport.codes import TransportCode

P256 = SignatureAlgorithm.ECDSA_SECP256R1_SHA256
BUFFER_EXCEEDED = TransportCode.CRYPTO_BUFFER_EXCEEDED


def honest(kind: str = "p256", **changes: object) -> Script:
    """Return the script of a peer that does everything right, but for ``changes``."""
    made = certs.node_leaf("rogue", private=certs.key(kind))
    return Script(**({"chain": made.chain_der, "key": made.key} | changes))


def error(kind: Alert) -> int:
    """Return the QUIC error code of an alert (RFC 9001 section 4.8)."""
    return 0x100 + kind


ROGUES: dict[str, tuple[Callable[[], Script], int]] = {
    "stranger": (
        lambda: honest(chain=[certs.leaf(certs.world().stranger).der]),
        error(Alert.unknown_ca),
    ),
    "somebody else's key": (
        lambda: honest(prove=lambda content: sign(certs.key("p256", "else"), content)),
        error(Alert.decrypt_error),
    ),
    "scheme of another curve": (
        lambda: honest("p384", prove=lambda content: sign(certs.key("p384"), content, P256)),
        error(Alert.illegal_parameter),
    ),
    "scheme for certificates only": (
        lambda: honest(
            "rsa2048",
            prove=lambda content: sign(certs.key("rsa2048"), content, SignatureAlgorithm.RSA_PKCS1_SHA256),
        ),
        error(Alert.illegal_parameter),
    ),
    "scheme of another kind of key": (
        lambda: honest(prove=lambda _: (SignatureAlgorithm.RSA_PSS_RSAE_SHA256, bytes(256))),
        error(Alert.decrypt_error),
    ),
    "certificate in an Initial packet": (
        lambda: honest(arrange=messages.moved(HandshakeType.CERTIFICATE, Epoch.INITIAL), whole_flight=True),
        error(Alert.unexpected_message),
    ),
    "certificate begun in an Initial packet": (
        lambda: honest(arrange=messages.begun_early(HandshakeType.CERTIFICATE), whole_flight=True),
        error(Alert.unexpected_message),
    ),
    "huge certificate": (lambda: honest(chain=[bytes(MAX_CERTIFICATE_MESSAGE)]), BUFFER_EXCEEDED),
    "huge proof": (lambda: honest(prove=lambda _: (P256, bytes(MAX_MESSAGE))), BUFFER_EXCEEDED),
}
"""What is wrong -> the script and the code due to it, in both roles."""


@pytest.mark.parametrize("name", ROGUES)
async def test_a_server_refuses_a_client(name: str) -> None:
    """A client in the wrong gets the code of its fault and is never handed to the server's owner."""
    make, code = ROGUES[name]
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", make()) as rogue:
            assert (await rogue.closed()).code == code
        assert server.confirmed.empty()


@pytest.mark.parametrize("name", ROGUES)
async def test_a_client_refuses_a_server(name: str) -> None:
    """A server in the wrong gets the same code, and whoever dialled gets a typed error."""
    make, code = ROGUES[name]
    async with RogueServer(make()) as rogue:
        with streams.dialling() as client:
            session = streams.dial(client, rogue.transport.get_extra_info("sockname"))
            failure = await session.wait_closed()
        assert (await (await rogue.peer()).closed()).code == code
    assert isinstance(failure, PeerCertificateError if name == "stranger" else ConnectError)


async def test_a_server_refuses_an_empty_certificate() -> None:
    """Aioquic goes on with a client that has none; here the client gets certificate_required."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", Script()) as rogue:
            assert (await rogue.closed()).alert == Alert.certificate_required


async def test_a_client_refuses_a_session_id_it_never_sent() -> None:
    """QUIC sends none, so a server has none to echo (RFC 9001 section 8.4)."""
    async with RogueServer(honest(session_id=bytes(32))) as rogue:
        with streams.dialling() as client:
            await streams.dial(client, rogue.transport.get_extra_info("sockname")).wait_closed()
        assert (await (await rogue.peer()).closed()).alert == Alert.illegal_parameter


async def test_a_client_refuses_a_server_that_does_not_verify_it() -> None:
    """A server that asks for no certificate is none of ours."""
    async with RogueServer(honest(request_certificate=False)) as rogue:
        with streams.dialling() as client:
            await streams.dial(client, rogue.transport.get_extra_info("sockname")).wait_closed()
        assert (await (await rogue.peer()).closed()).alert == Alert.handshake_failure


async def test_the_refusal_is_kept() -> None:
    """The reason for which a peer was refused is known to this side in full."""
    async with RogueServer(honest(chain=[certs.leaf(certs.world().stranger).der])) as rogue:
        with streams.dialling() as client:
            session = streams.dial(client, rogue.transport.get_extra_info("sockname"))
            await session.wait_closed()
            assert session._quic.refusal is not None
            assert session._quic.refusal.alert == Alert.unknown_ca
            assert session._quic.peer_id is None


async def test_a_client_learns_why_it_was_refused() -> None:
    """Both sides of a refusal have a typed error with the same alert."""

    def refuse(_chain: object) -> object:
        from pki.svid import SvidError, Violation

        raise SvidError((Violation("test", Alert.certificate_revoked, "is on the list"),))

    async with streams.accepting(verify=refuse) as server:
        with streams.dialling() as client:
            session = streams.dial(client, server.endpoint.address)
            with pytest.raises(TndrlError):
                await session.wait_confirmed()
            assert isinstance(session.failure, CertificateRefusedError)
            assert session.failure.alert == Alert.certificate_revoked


def test_no_sha1_is_offered() -> None:
    """The list of schemes that both sides offer has no SHA-1 in it."""
    context = VerifyingContext.adopt(
        tls.Context(is_client=True), lambda _chain: streams.credentials().spiffe_id
    )
    assert SignatureAlgorithm.RSA_PKCS1_SHA1 not in context._signature_algorithms
    assert SignatureAlgorithm.RSA_PKCS1_SHA1 in tls.Context(is_client=True)._signature_algorithms


def test_an_alert_carries_its_number_and_words() -> None:
    """The exception that aioquic turns into a close has our description and our reason."""
    made = alert(Alert.access_denied, "not you")
    assert (made.description, str(made)) == (Alert.access_denied, "not you")


# What aioquic must still have

METHODS = {
    "handle_message": ["self", "input_data", "output_buf"],
    "_handle_reassembled_message": ["self", "message_type", "input_buf", "output_buf"],
    "_client_handle_hello": ["self", "input_buf", "output_buf"],
    "_client_handle_finished": ["self", "input_buf", "output_buf"],
    "_server_handle_certificate": ["self", "input_buf"],
    "_set_peer_certificate": ["self", "certificate"],
    "_check_certificate_verify_signature": ["self", "verify"],
}
"""Methods of ``tls.Context`` that are overridden -> their arguments."""


@pytest.mark.parametrize("name", METHODS)
def test_aioquic_has_the_method(name: str) -> None:
    """A method that is overridden exists in the base class with the same arguments."""
    assert list(signature(getattr(tls.Context, name)).parameters) == METHODS[name]
    assert getattr(VerifyingContext, name) is not getattr(tls.Context, name)


@pytest.mark.parametrize("is_client", [True, False])
def test_aioquic_has_the_state(is_client: bool) -> None:
    """What is read or set on a context is there, with the meaning it had."""
    context = tls.Context(is_client=is_client)
    assert context._is_client is is_client
    assert context._request_client_certificate is False
    assert context._receive_buffer == b""
    assert context._peer_certificate is None
    assert context._certificate_request is None
    assert context.state in (tls.State.CLIENT_HANDSHAKE_START, tls.State.SERVER_EXPECT_CLIENT_HELLO)
    assert context.legacy_session_id == (b"" if is_client else None)


def test_every_state_has_its_level() -> None:
    """A state that aioquic adds or renames is missing in our table of encryption levels."""
    from tndrl.transport._aioquic.tls import _EPOCH_OF_STATE

    assert set(tls.State) - set(_EPOCH_OF_STATE) == {tls.State.CLIENT_HANDSHAKE_START}


def test_a_hello_has_its_session_id() -> None:
    """The field that is compared exists in a parsed ServerHello."""
    assert "legacy_session_id" in {field.name for field in dataclasses.fields(tls.ServerHello)}
