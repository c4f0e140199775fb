"""Transport parameters that aioquic takes although they contradict RFC 9000 section 7.4."""

from __future__ import annotations

from aioquic import tls
from aioquic.buffer import Buffer, BufferReadError
from aioquic.quic.connection import QuicConnection, QuicConnectionError
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from pki.alerts import Alert
from tndrl.transport._aioquic.resumption import alert

STATELESS_RESET_TOKEN = 0x02
TOKEN_SIZE = 16


class ParameterChecks(QuicConnection):
    """Closes the connection of a peer that says a parameter twice, or one of the wrong size."""

    def _alpn_handler(self, alpn_protocol: str) -> None:
        kinds = [kind for kind, _content in self.tls.received_extensions or ()]
        if kinds.count(tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS) > 1:
            # RFC 8446 section 4.2: no extension may be there twice.
            raise alert(Alert.illegal_parameter, "transport parameters are there twice")
        super()._alpn_handler(alpn_protocol)

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        try:
            problem = contradiction(data)
        except BufferReadError:
            problem = "transport parameters are cut off"
        if problem is not None:
            raise QuicConnectionError(
                error_code=QuicErrorCode.TRANSPORT_PARAMETER_ERROR,
                frame_type=QuicFrameType.CRYPTO,
                reason_phrase=problem,
            )
        super()._parse_transport_parameters(data, from_session_ticket)


def contradiction(data: bytes) -> str | None:
    """Return what is wrong with encoded parameters as a whole, None if nothing is; raises BufferReadError."""
    buffer = Buffer(data=data)
    seen: set[int] = set()
    while not buffer.eof():
        parameter, size = buffer.pull_uint_var(), buffer.pull_uint_var()
        buffer.pull_bytes(size)
        if parameter in seen:
            return f"transport parameter {parameter:#x} is there twice"
        if parameter == STATELESS_RESET_TOKEN and size != TOKEN_SIZE:
            return f"a stateless reset token of {size} bytes"
        seen.add(parameter)
    return None
