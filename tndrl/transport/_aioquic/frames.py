"""Frames that RFC 9000 forbids and aioquic takes, or refuses with another code."""

from __future__ import annotations

from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode


class FrameChecks(QuicConnection):
    """Closes the connection of a peer whose frames contradict themselves (RFC 9000 section 19)."""

    def _handle_new_connection_id_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        start = buf.tell()
        sequence_number, retire_prior_to = buf.pull_uint_var(), buf.pull_uint_var()
        if retire_prior_to > sequence_number:
            raise _encoding_error(frame_type, "a connection ID that retires itself")
        buf.seek(start)
        super()._handle_new_connection_id_frame(context, frame_type, buf)

    def _handle_new_token_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        if self._is_client and buf.pull_uint_var() == 0:
            raise _encoding_error(frame_type, "an empty token")
        buf.seek(start)
        super()._handle_new_token_frame(context, frame_type, buf)


def _encoding_error(frame_type: int, reason: str) -> QuicConnectionError:
    return QuicConnectionError(
        error_code=QuicErrorCode.FRAME_ENCODING_ERROR, frame_type=frame_type, reason_phrase=reason
    )
