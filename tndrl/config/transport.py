"""The settings of connections: how long they last, and what a peer may take."""

from __future__ import annotations

from typing import Annotated

from tndrl.config.kinds import Boolean, FilePath, Number
from tndrl.config.section import Field, Section

_MEBIBYTE = 1024 * 1024


def seconds(text: str, low: float, high: float) -> Field:
    """Return the description of a number of seconds."""
    return Field(text, Number(low, high, seconds=True))


def _bound(text: str, low: int, high: int) -> Field:
    return Field(text, Number(low, high), flag=None)  # for a file or a variable: nobody types these


class TransportConfig(Section, frozen=True, kw_only=True):
    """How long a connection may take and last."""

    connect_timeout: Annotated[
        float, seconds("How long connecting to a peer may take, looking its name up included.", 0.1, 3600)
    ] = 10.0
    idle_timeout: Annotated[
        float,
        seconds("A connection on which nothing arrives for so long is dead (RFC 9000 section 10.1).", 1, 600),
    ] = 60.0
    keepalive: Annotated[
        float,
        seconds(
            "How often a PING keeps a quiet connection alive; at least three times in the idle timeout that "
            "both sides agreed on.",
            1,
            600,
        ),
    ] = 30.0
    handshake_timeout: Annotated[
        float, seconds("A handshake in which nothing arrives for so long is given up.", 0.1, 600)
    ] = 5.0
    type_timeout: Annotated[
        float, seconds("A stream whose type byte has not arrived after so long is reset.", 0.1, 600)
    ] = 5.0
    request_timeout: Annotated[
        float,
        seconds(
            "A stream that has a type, and after so long no HTTP/2 preface and first call, is ended.",
            0.1,
            600,
        ),
    ] = 10.0
    evict_after: Annotated[
        float, seconds("A connection to a peer on which no stream is open for so long is closed.", 1, 86400)
    ] = 300.0
    reconnect_max: Annotated[
        float, seconds("The longest pause between two tries to reach a peer that is gone.", 0.1, 3600)
    ] = 30.0
    reconnect_for: Annotated[
        float,
        seconds(
            "How long a call that waits for its peer (wait_for_ready) keeps trying to reach it, other than its own "
            "deadline; 0 for ever.",
            0,
            86400,
        ),
    ] = 0.0
    max_datagram: Annotated[
        int,
        Field(
            "The largest UDP payload in bytes that a connection may use; it begins with 1,200 and rises as far as "
            "the path carries (RFC 8899).",
            Number(1200, 16383),
        ),
    ] = 16383
    early_data: Annotated[
        bool,
        Field(
            "Whether idempotent calls may go out with the first packets of a resumed connection (0-RTT, RFC 9001 "
            "section 4.6) and be answered before the handshake ends.",
            Boolean(),
        ),
    ] = True
    qlog_dir: Annotated[
        str | None,
        Field("Where each connection's events are written, for qvis; nowhere without it.", FilePath()),
    ] = None
    qlog_size: Annotated[
        int,
        Field(
            "Bytes that one connection's file there may have; what comes later is left out.",
            Number(1024, 1_000_000_000_000),
        ),
    ] = 16 * _MEBIBYTE
    key_log_file: Annotated[
        str | None,
        Field(
            "Where the secrets of each connection are written, for Wireshark: whoever reads it reads all traffic.",
            FilePath(),
        ),
    ] = None


class LimitsConfig(Section, frozen=True, kw_only=True):
    """What a peer may take of a node. docs/transport.md says which attack each limit stops."""

    connections: Annotated[int, _bound("Connections that are accepted, in all.", 1, 1_000_000)] = 1024
    connections_per_identity: Annotated[
        int, _bound("Connections that one SPIFFE ID may have.", 1, 1_000_000)
    ] = 8
    half_open: Annotated[int, _bound("Handshakes that are under way at once.", 1, 1_000_000)] = 256
    retry_above: Annotated[
        int,
        _bound(
            "Handshakes under way from which on new ones must prove their address with a Retry token "
            "(RFC 9000 section 8.1.2).",
            0,
            1_000_000,
        ),
    ] = 32
    handshakes_per_second: Annotated[
        int, _bound("Handshakes that one address may begin in a second.", 1, 1_000_000)
    ] = 200
    calls_per_second: Annotated[
        int, _bound("Calls that one SPIFFE ID may begin in a second.", 1, 100_000_000)
    ] = 10_000
    resets_per_second: Annotated[
        int, _bound("Calls of one stream that its peer may reset in a second.", 1, 1_000_000)
    ] = 200
    control_frames_per_second: Annotated[
        int,
        _bound(
            "HTTP/2 frames of one stream in a second that carry no call: SETTINGS, PING, WINDOW_UPDATE, PRIORITY, "
            "CONTINUATION, empty DATA and unknown ones.",
            100,
            100_000_000,
        ),
    ] = 10_000
    streams: Annotated[int, _bound("Streams that a peer may have open on one connection.", 1, 1_000_000)] = (
        1000
    )
    stream_age: Annotated[
        float,
        Field(
            "How old a stream may become, give or take a tenth, before its server asks for a new one (GOAWAY with "
            "`max_age`); its calls go on to their end. 0 for ever.",
            Number(0, 31_536_000, seconds=True),
            flag=None,
        ),
    ] = 0.0
    stream_idle: Annotated[
        float,
        Field(
            "The same for a stream on which there has been no call for so long; 0 for ever.",
            Number(0, 31_536_000, seconds=True),
            flag=None,
        ),
    ] = 0.0
    calls_per_stream: Annotated[int, _bound("Calls of one stream that run at once.", 1, 1_000_000)] = 100
    calls_per_connection: Annotated[
        int, _bound("Calls of one connection that run at once.", 1, 10_000_000)
    ] = 2000
    calls_per_identity: Annotated[
        int, _bound("Calls of one SPIFFE ID that run at once, on all of its connections.", 1, 10_000_000)
    ] = 4000
    message: Annotated[int, _bound("Bytes of a message that a service takes.", 1024, 1024 * _MEBIBYTE)] = (
        4 * _MEBIBYTE
    )
    control_message: Annotated[
        int, _bound("Bytes of a message that Control takes.", 1024, 1024 * _MEBIBYTE)
    ] = 65536
    agent_answer: Annotated[
        int, _bound("Bytes of a message that a client of an agent takes.", 1024, 1024 * _MEBIBYTE)
    ] = 64 * _MEBIBYTE
    metadata: Annotated[int, _bound("Bytes of a call's metadata.", 1024, 1024 * 1024)] = 8192
    stream_window: Annotated[
        int,
        _bound("Bytes received on a stream and not yet passed on, at first.", 1024, 1024 * _MEBIBYTE),
    ] = _MEBIBYTE
    max_stream_window: Annotated[
        int,
        _bound(
            "What that may grow to on a stream whose service keeps up with its sender.",
            1024,
            1024 * _MEBIBYTE,
        ),
    ] = 6 * _MEBIBYTE
    connection_window: Annotated[
        int,
        _bound(
            "Bytes received on all streams of a connection and not yet passed on.", 1024, 1024 * _MEBIBYTE
        ),
    ] = 15 * _MEBIBYTE
    connection_send_buffer: Annotated[
        int,
        _bound(
            "Bytes sent on all streams of a connection and not yet acknowledged, before each stream waits for "
            "its own.",
            65536,
            1024 * _MEBIBYTE,
        ),
    ] = 15 * _MEBIBYTE
    stream_gaps: Annotated[int, _bound("Gaps in what has arrived of one stream.", 1, 1_000_000)] = 1000
    crypto_gaps: Annotated[int, _bound("Gaps in what has arrived of the TLS handshake.", 1, 1_000_000)] = 64
    tickets: Annotated[
        int, _bound("Session tickets that are kept, on each side (RFC 8446 section 4.6.1).", 0, 1_000_000)
    ] = 1000
    descriptors_percent: Annotated[
        int,
        _bound("Of the file descriptors that the process may open, the share for bridged streams.", 1, 90),
    ] = 50
    packets_per_key: Annotated[
        int, _bound("Packets sent with one key before it is updated (RFC 9001 section 6).", 100, 8_000_000)
    ] = 100_000
