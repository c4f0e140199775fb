"""A TLS side that follows a script: all that tests need of the private names of aioquic's TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.tls import Epoch, HandshakeType

from rogue import messages
from rogue.script import Script


class Placeholder:
    """Stands for the certificate and the key that aioquic wants; what goes out is the script's."""

    def public_bytes(self, _encoding: object) -> bytes:
        return b""

    def sign(self, *_arguments: object) -> bytes:
        return b""


class Transcript(tls.KeySchedule):
    """A key schedule that lets the script rewrite each message of ours before it is hashed."""

    context: RogueContext

    def update_hash(self, data: bytes) -> None:
        super().update_hash(self.context.rewritten(data) if self.context.sends(data) else data)


class RogueContext(tls.Context):
    """aioquic's TLS state machine, verifying nothing and sending what a script says."""

    script: Script
    received: bytes | None
    sent: list[bytes]

    @classmethod
    def adopt(cls, context: tls.Context, script: Script) -> None:
        """Turn a context that aioquic has just built into a rogue, in place."""
        context.__class__ = cls
        assert isinstance(context, cls)
        context.script = script
        context.received = None
        context.sent = []
        context.certificate_private_key = Placeholder()
        context.certificate = Placeholder() if script.chain or not context._is_client else None
        context._request_client_certificate = not context._is_client and script.request_certificate
        context._alpn_protocols = (
            list(script.alpn) if context._is_client and script.alpn is not None else None
        )
        for name, chosen in (
            ("_supported_versions", script.versions),
            ("_supported_groups", script.groups),
            ("_signature_algorithms", script.schemes),
        ):
            if chosen is not None:
                setattr(context, name, list(chosen))
        if context._is_client:
            context.legacy_session_id = script.session_id

    @property
    def key_schedule(self) -> tls.KeySchedule | None:
        return self.__dict__.get("key_schedule")

    @key_schedule.setter
    def key_schedule(self, schedule: tls.KeySchedule | None) -> None:
        if schedule is not None:
            schedule.__class__ = Transcript
            schedule.context = self
        self.__dict__["key_schedule"] = schedule

    def handle_message(self, input_data: bytes, output_buf: dict[Epoch, Buffer]) -> None:
        """Feed handshake bytes, then replace what aioquic wrote by what the script makes of it."""
        super().handle_message(input_data, output_buf)
        written = [
            (epoch, part) for epoch, buffer in output_buf.items() for part in messages.split(buffer.data)
        ]
        if not written:
            return
        sent, self.sent = self.sent or [part for _, part in written], []
        flight = [(epoch, part) for (epoch, _), part in zip(written, sent, strict=True) if part]
        for buffer in output_buf.values():
            buffer.seek(0)
        for epoch, part in self.script.arrange(flight):
            output_buf[epoch].push_bytes(part)

    def sends(self, data: bytes) -> bool:
        """Return whether ``data``, which enters the transcript now, is a message of ours."""
        return self.received is not None and data != self.received

    def rewritten(self, message: bytes) -> bytes:
        """Return what goes out in the place of ``message``, and remember it."""
        kind = message[0]
        if kind == HandshakeType.CERTIFICATE:
            message = messages.certificate(list(self.script.chain))
        elif kind == HandshakeType.CERTIFICATE_VERIFY:
            role = tls.CLIENT_CONTEXT_STRING if self._is_client else tls.SERVER_CONTEXT_STRING
            proof = self.script.proof(self.key_schedule.certificate_verify_data(role))
            message = messages.certificate_verify(*proof)
        elif kind == HandshakeType.SERVER_HELLO:
            message = messages.change_server_hello(legacy_session_id=self.script.session_id)(message)
        elif kind == HandshakeType.ENCRYPTED_EXTENSIONS:
            message = messages.change_encrypted_extensions(message, self.script.alpn and self.script.alpn[0])
        message = self.script.edit(message)
        self.sent.append(message)
        return message

    def _client_handle_finished(self, input_buf: Buffer, output_buf: Buffer) -> None:
        with self._answering(input_buf):
            super()._client_handle_finished(input_buf, output_buf)

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        with self._answering(input_buf):
            super()._server_handle_hello(input_buf, initial_buf, handshake_buf)

    def _server_expect_finished(self) -> None:
        self.received = None  # the message hashed here is the client's
        super()._server_expect_finished()

    def _signature_algorithms_for_private_key(self) -> list[Any]:
        return list(tls.SIGNATURE_ALGORITHMS)

    @contextmanager
    def _answering(self, input_buf: Buffer) -> Iterator[None]:
        self.received = input_buf.data_slice(0, input_buf.capacity)
        try:
            yield
        finally:
            self.received = None
