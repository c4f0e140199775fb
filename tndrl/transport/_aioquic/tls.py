"""TLS 1.3 with a certificate from both sides, verified by our own rules.

aioquic asks a client for a certificate only "for test purposes", takes any answer, and checks a server's
certificate without its usages. This context takes the place of aioquic's after it is built: same state machine,
our verification.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate

from pki.alerts import Alert
from pki.svid import SvidError
from tndrl.transport._aioquic.resumption import NO_RESUMPTION, ResumingContext, Resumption, alert, copied
from tndrl.transport.identity import VerifyPeer

MAX_CERTIFICATE_MESSAGE = 64 * 1024
"""Bytes of a Certificate message: room for any chain we accept, none for filling memory."""

MAX_MESSAGE = 16 * 1024
"""Bytes of any other handshake message."""

_EPOCH_OF_STATE = {
    tls.State.CLIENT_EXPECT_SERVER_HELLO: tls.Epoch.INITIAL,
    tls.State.CLIENT_EXPECT_ENCRYPTED_EXTENSIONS: tls.Epoch.HANDSHAKE,
    tls.State.CLIENT_EXPECT_CERTIFICATE_REQUEST_OR_CERTIFICATE: tls.Epoch.HANDSHAKE,
    tls.State.CLIENT_EXPECT_CERTIFICATE: tls.Epoch.HANDSHAKE,
    tls.State.CLIENT_EXPECT_CERTIFICATE_VERIFY: tls.Epoch.HANDSHAKE,
    tls.State.CLIENT_EXPECT_FINISHED: tls.Epoch.HANDSHAKE,
    tls.State.CLIENT_POST_HANDSHAKE: tls.Epoch.ONE_RTT,
    tls.State.SERVER_EXPECT_CLIENT_HELLO: tls.Epoch.INITIAL,
    tls.State.SERVER_EXPECT_CERTIFICATE: tls.Epoch.HANDSHAKE,
    tls.State.SERVER_EXPECT_CERTIFICATE_VERIFY: tls.Epoch.HANDSHAKE,
    tls.State.SERVER_EXPECT_FINISHED: tls.Epoch.HANDSHAKE,
    tls.State.SERVER_POST_HANDSHAKE: tls.Epoch.ONE_RTT,
}

_CURVE_OF_SCHEME: dict[int, type[ec.EllipticCurve]] = {
    tls.SignatureAlgorithm.ECDSA_SECP256R1_SHA256: ec.SECP256R1,
    tls.SignatureAlgorithm.ECDSA_SECP384R1_SHA384: ec.SECP384R1,
    tls.SignatureAlgorithm.ECDSA_SECP521R1_SHA512: ec.SECP521R1,
}

_PKCS1_SCHEMES = frozenset(
    {
        tls.SignatureAlgorithm.RSA_PKCS1_SHA1,
        tls.SignatureAlgorithm.RSA_PKCS1_SHA256,
        tls.SignatureAlgorithm.RSA_PKCS1_SHA384,
        tls.SignatureAlgorithm.RSA_PKCS1_SHA512,
    }
)


class VerifyingContext(ResumingContext):
    """aioquic's TLS state machine with client certificates and our verification of the peer's."""

    refusal: SvidError | None
    receive_epoch: tls.Epoch

    @classmethod
    def adopt(
        cls, context: tls.Context, verify_peer: VerifyPeer, resumption: Resumption = NO_RESUMPTION
    ) -> VerifyingContext:
        """Turn a context that aioquic has just built into one of ours, in place."""
        context.__class__ = cls
        assert isinstance(context, cls)
        context.verify_peer = verify_peer
        context.begin_resumption(resumption)
        context.refusal = None
        context.receive_epoch = tls.Epoch.INITIAL
        context._signature_algorithms = [
            scheme
            for scheme in context._signature_algorithms
            if scheme != tls.SignatureAlgorithm.RSA_PKCS1_SHA1
        ]
        return context

    def handle_message(self, input_data: bytes, output_buf: dict[tls.Epoch, Buffer]) -> None:
        """Feed handshake bytes; refuses a message that spans a key change (RFC 8446 section 5.1)."""
        super().handle_message(self._bounded(input_data), output_buf)
        if self._receive_buffer and self.receive_epoch is not _EPOCH_OF_STATE[self.state]:
            raise alert(Alert.unexpected_message, "handshake message spans a key change")

    def _bounded(self, data: bytes) -> bytes:
        """Return ``data``, or raise if the message it begins or continues announces too many bytes."""
        head = (self._receive_buffer + data[:4])[:4]
        if len(head) == 4:
            limit = MAX_CERTIFICATE_MESSAGE if head[0] == tls.HandshakeType.CERTIFICATE else MAX_MESSAGE
            if int.from_bytes(head[1:], "big") > limit:
                raise QuicConnectionError(
                    error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                    frame_type=QuicFrameType.CRYPTO,
                    reason_phrase=f"handshake message over {limit} bytes",
                )
        return data

    def _handle_reassembled_message(
        self, message_type: int, input_buf: Buffer, output_buf: dict[tls.Epoch, Buffer]
    ) -> None:
        # aioquic reads the messages of every epoch as one stream: a Certificate inside an Initial packet, which
        # anybody on the path can write, would pass.
        if self.receive_epoch is not _EPOCH_OF_STATE[self.state]:
            raise alert(Alert.unexpected_message, "handshake message at the wrong encryption level")
        super()._handle_reassembled_message(message_type, input_buf, output_buf)

    def _client_handle_hello(self, input_buf: Buffer, output_buf: Buffer) -> None:
        # RFC 8446 section 4.1.3: the echo must be what we sent, and QUIC sends none (RFC 9001 section 8.4).
        hello = tls.pull_server_hello(copied(input_buf))
        if hello.legacy_session_id != self.legacy_session_id:
            raise alert(Alert.illegal_parameter, "ServerHello echoes a session id that was not sent")
        if hello.cipher_suite not in self._cipher_suites:
            raise alert(Alert.illegal_parameter, "ServerHello has a cipher suite that was not offered")
        super()._client_handle_hello(input_buf, output_buf)

    def _client_handle_finished(self, input_buf: Buffer, output_buf: Buffer) -> None:
        if self._certificate_request is None and not self._session_resumed:
            # It would be confirmed without having verified us: no node does that.
            raise alert(Alert.handshake_failure, "the server did not ask for our certificate")
        super()._client_handle_finished(input_buf, output_buf)

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate(input_buf)
        if self._peer_certificate is None:
            # aioquic goes on without one, as RFC 8446 section 4.4.2.4 lets a server do.
            self._verify(())

    def _set_peer_certificate(self, certificate: tls.Certificate) -> None:
        chain = [der for der, _extensions in certificate.certificates]
        self._verify(chain)
        self._peer_certificate = load_der_x509_certificate(chain[0])

    def _verify(self, chain: Sequence[bytes]) -> None:
        try:
            self.peer_id, self.peer_chain = self.verify_peer(chain), tuple(chain)
            self.verified_at = time.time()
        except SvidError as error:
            self.refusal = error
            raise alert(error.alert, str(error)) from error

    def _check_certificate_verify_signature(self, verify: tls.CertificateVerify) -> None:
        if verify.algorithm not in self._signature_algorithms or verify.algorithm in _PKCS1_SCHEMES:
            raise alert(
                Alert.illegal_parameter, "CertificateVerify uses a scheme that TLS 1.3 or we do not allow"
            )
        assert self._peer_certificate is not None
        key = self._peer_certificate.public_key()
        curve = _CURVE_OF_SCHEME.get(verify.algorithm)
        # RFC 8446 section 4.2.3: in TLS 1.3 the scheme names the curve, which aioquic does not compare.
        if (
            curve is not None
            and isinstance(key, ec.EllipticCurvePublicKey)
            and not isinstance(key.curve, curve)
        ):
            raise alert(Alert.illegal_parameter, "CertificateVerify scheme does not match the key's curve")
        try:
            super()._check_certificate_verify_signature(verify)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise alert(Alert.decrypt_error, "CertificateVerify cannot be checked") from error
