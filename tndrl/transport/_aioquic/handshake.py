"""What a peer may make us hold of a handshake: so many bytes of TLS ahead of their turn, with so many gaps."""

from __future__ import annotations

from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.tls import Epoch

from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.reassembly import CryptoRanges, crypto_buffer_exceeded
from tndrl.transport._aioquic.tls import MAX_CERTIFICATE_MESSAGE, MAX_MESSAGE

MAX_AHEAD = {
    Epoch.INITIAL: MAX_MESSAGE + 4,
    Epoch.HANDSHAKE: MAX_CERTIFICATE_MESSAGE + MAX_MESSAGE,
    Epoch.ONE_RTT: MAX_MESSAGE,
}
"""Bytes by which CRYPTO frames may be ahead of what TLS has taken: what fits between two messages of one flight."""


class HandshakeLimits(QuicConnection):
    """Closes a connection whose handshake takes more than any handshake needs (RFC 9000 section 7.5)."""

    _limits: LimitsConfig

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for stream in self._crypto_streams.values():
            stream.receiver._ranges = CryptoRanges(self._limits.crypto_gaps)

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        most = MAX_AHEAD[context.epoch]
        if end - self._crypto_streams[context.epoch].receiver.starting_offset() > most:
            raise crypto_buffer_exceeded(f"more than {most} bytes of the handshake ahead of their turn")
        super()._handle_crypto_frame(context, frame_type, buf)

    def _handle_padding_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        rest = buf.data_slice(buf.tell(), buf.capacity)
        buf.seek(buf.capacity - len(rest.lstrip(b"\0")))  # aioquic looks at the bytes one by one
        super()._handle_padding_frame(context, frame_type, buf)
