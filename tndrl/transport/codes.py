"""Error codes on the wire, in words: QUIC's own (RFC 9000 section 20.1), TLS alerts, and ours."""

from __future__ import annotations

from enum import IntEnum

from pki.alerts import Alert

CRYPTO_ERROR = 0x100
"""A QUIC error code from here to 0x1ff is a TLS alert (RFC 9001 section 4.8)."""


class ErrorCode(IntEnum):
    """Tndrl's application error codes: of RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE (RFC 9000 section 20.2)."""

    NO_ERROR = 0x00
    """Closed in good order, nothing was lost."""
    INTERNAL = 0x01
    """The side that sends it has a fault of its own."""
    UNKNOWN_STREAM_TYPE = 0x02
    """The first byte names nothing that this node serves."""
    STREAM_TYPE_MISSING = 0x03
    """The stream ended before its first byte."""
    STREAM_TYPE_TIMEOUT = 0x04
    """The first byte did not come in time."""
    CANCELLED = 0x05
    """The local end of the stream went away."""
    SHUTDOWN = 0x06
    """The node stops; reach it again when it is back."""
    PREFACE_INVALID = 0x07
    """What follows the type is not HTTP/2."""
    FRAME_INVALID = 0x08
    """An HTTP/2 frame stands where RFC 9113 allows none, or has a length that it cannot have."""
    REQUEST_TIMEOUT = 0x09
    """The preface, the first call or the rest of its headers did not come in time."""
    EXCESSIVE_LOAD = 0x0A
    """A flood of frames, or of calls that are given up at once."""


class TransportCode(IntEnum):
    """QUIC's transport error codes (RFC 9000 section 20.1, RFC 9368 section 10.2)."""

    NO_ERROR = 0x00
    INTERNAL_ERROR = 0x01
    CONNECTION_REFUSED = 0x02
    FLOW_CONTROL_ERROR = 0x03
    STREAM_LIMIT_ERROR = 0x04
    STREAM_STATE_ERROR = 0x05
    FINAL_SIZE_ERROR = 0x06
    FRAME_ENCODING_ERROR = 0x07
    TRANSPORT_PARAMETER_ERROR = 0x08
    CONNECTION_ID_LIMIT_ERROR = 0x09
    PROTOCOL_VIOLATION = 0x0A
    INVALID_TOKEN = 0x0B
    APPLICATION_ERROR = 0x0C
    CRYPTO_BUFFER_EXCEEDED = 0x0D
    KEY_UPDATE_ERROR = 0x0E
    AEAD_LIMIT_REACHED = 0x0F
    NO_VIABLE_PATH = 0x10
    VERSION_NEGOTIATION_ERROR = 0x11


def alert_of(code: int) -> int | None:
    """Return the TLS alert description inside a QUIC transport error code, None if there is none."""
    return code - CRYPTO_ERROR if CRYPTO_ERROR <= code <= CRYPTO_ERROR + 0xFF else None


def alert_name(alert: int) -> str:
    """Return a TLS alert description in words: ``unknown_ca``, or ``alert 200`` where RFC 8446 names none."""
    try:
        return Alert(alert).name
    except ValueError:
        return f"alert {alert}"


def code_name(code: int, *, application: bool) -> str:
    """Return an error code in words, for messages and logs."""
    if not application and (alert := alert_of(code)) is not None:
        return alert_name(alert)
    known: type[IntEnum] = ErrorCode if application else TransportCode
    try:
        return known(code).name
    except ValueError:
        return f"{'application ' if application else ''}code {code:#x}"
