"""What a peer may cost before it has proved who it is: so many bytes of TLS, so many gaps and so many frames."""

from __future__ import annotations

from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.tls import Epoch

from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.reassembly import CryptoRanges, crypto_buffer_exceeded
from tndrl.transport._aioquic.tls import MAX_CERTIFICATE_MESSAGE, MAX_MESSAGE

MAX_FRAMES = 512
"""Frames of a whole handshake: the largest certificate fills some 60 packets, and each may be sent again."""

MAX_AHEAD = {
    Epoch.INITIAL: MAX_MESSAGE + 4,
    Epoch.HANDSHAKE: MAX_CERTIFICATE_MESSAGE + MAX_MESSAGE,
    Epoch.ONE_RTT: MAX_MESSAGE,
}
"""Bytes by which CRYPTO frames may be ahead of what TLS has taken: what fits between two messages of one flight."""


class HandshakeLimits(QuicConnection):
    """Closes a connection whose handshake takes more than any handshake needs (RFC 9000 section 7.5)."""

    _limits: LimitsConfig

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._handshake_frames = 0

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for stream in self._crypto_streams.values():
            stream.receiver._ranges = CryptoRanges(self._limits.crypto_gaps)

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._count_frame()
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        most = MAX_AHEAD[context.epoch]
        if end - self._crypto_streams[context.epoch].receiver.starting_offset() > most:
            raise crypto_buffer_exceeded(f"more than {most} bytes of the handshake ahead of their turn")
        super()._handle_crypto_frame(context, frame_type, buf)

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._count_frame()
        super()._handle_ack_frame(context, frame_type, buf)

    def _handle_ping_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._count_frame()
        super()._handle_ping_frame(context, frame_type, buf)

    def _handle_padding_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._count_frame()
        rest = buf.data_slice(buf.tell(), buf.capacity)
        buf.seek(buf.capacity - len(rest.lstrip(b"\0")))  # aioquic looks at the bytes one by one
        super()._handle_padding_frame(context, frame_type, buf)

    def _count_frame(self) -> None:
        if self._handshake_complete:
            return
        self._handshake_frames += 1
        if self._handshake_frames > MAX_FRAMES:
            raise crypto_buffer_exceeded(f"more than {MAX_FRAMES} frames in a handshake")
