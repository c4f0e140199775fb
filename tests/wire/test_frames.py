"""Frames that a peer may not send, sent by a peer that was let in: closed with RFC 9000's code, in both roles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rogue import frames
from rogue.frames import frame, stream
from rogue.peer import Peer, RogueClient, RogueServer
from support import nodes, streams
from tndrl.config import LimitsConfig
from tndrl.transport.codes import TransportCode
from wire.stages import Caller, Stage, check_no_fault
from wire.test_handshake import valid

LIMITS = LimitsConfig()
WINDOW, STREAMS = LIMITS.stream_window, LIMITS.streams
LAST = 4 * (STREAMS - 1)
"""The last stream that a client may open."""

FLOW_CONTROL_ERROR = TransportCode.FLOW_CONTROL_ERROR
STREAM_LIMIT_ERROR = TransportCode.STREAM_LIMIT_ERROR
STREAM_STATE_ERROR = TransportCode.STREAM_STATE_ERROR
FINAL_SIZE_ERROR = TransportCode.FINAL_SIZE_ERROR
FRAME_ENCODING_ERROR = TransportCode.FRAME_ENCODING_ERROR
PROTOCOL_VIOLATION = TransportCode.PROTOCOL_VIOLATION

Breach = bytes | Callable[[Peer], bytes]
"""What stands in a packet, or how to make it once the connection is there."""

FINAL = stream(0, 10, b"x", end=True)

EITHER: dict[str, tuple[Breach, int]] = {
    "QUIC-14 ACK of an unsent packet": (frames.ack([range(9000, 9001)]), PROTOCOL_VIOLATION),
    "QUIC-14 ACK of all that may ever be sent": (frames.ack([range(frames.LARGEST + 1)]), PROTOCOL_VIOLATION),
    "QUIC-14 ACK of too many ranges": (
        frames.frame(frames.ACK, 3, 0, 64, 0) + bytes(128),
        PROTOCOL_VIOLATION,
    ),
    "QUIC-14 ACK below zero": (frames.frame(frames.ACK, 0, 0, 0, 9), FRAME_ENCODING_ERROR),
    "QUIC-16 MAX_STREAMS 2^61": (frame(frames.MAX_STREAMS, 1 << 61), FRAME_ENCODING_ERROR),
    "QUIC-16 MAX_STREAMS 2^61 unidirectional": (frame(frames.MAX_STREAMS_UNI, 1 << 61), FRAME_ENCODING_ERROR),
    "QUIC-16 STREAMS_BLOCKED 2^61": (frame(frames.STREAMS_BLOCKED, 1 << 61), FRAME_ENCODING_ERROR),
    "QUIC-17 DATAGRAM": (frame(frames.DATAGRAM, data=b"x"), PROTOCOL_VIOLATION),
    "QUIC-17 unknown frame": (frame(0x21), FRAME_ENCODING_ERROR),
    "QUIC-17 unknown frame of eight bytes": (frame(frames.LARGEST), FRAME_ENCODING_ERROR),
    "QUIC-17 cut off": (b"\x06\x40", FRAME_ENCODING_ERROR),
    "QUIC-17 RETIRE_CONNECTION_ID never issued": (frame(frames.RETIRE_CONNECTION_ID, 99), PROTOCOL_VIOLATION),
    "QUIC-17 NEW_CONNECTION_ID of no bytes": (
        frame(frames.NEW_CONNECTION_ID, 9, 0, 0, data=bytes(16)),
        FRAME_ENCODING_ERROR,
    ),
    "QUIC-17 NEW_CONNECTION_ID that retires itself": (
        frame(frames.NEW_CONNECTION_ID, 9, 10, 8, data=bytes(8 + 16)),
        FRAME_ENCODING_ERROR,
    ),
}
"""What nobody may send: frames and code."""

CLIENTS: dict[str, tuple[Breach, int]] = {
    **EITHER,
    "QUIC-15 over a stream's window": (stream(0, WINDOW, b"x"), FLOW_CONTROL_ERROR),
    "QUIC-15 reset over a stream's window": (
        frame(frames.RESET_STREAM, 0, 0, WINDOW + 1),
        FLOW_CONTROL_ERROR,
    ),
    "QUIC-15 over the connection's window": (
        b"".join(stream(4 * n, WINDOW - 1, b"x") for n in range(16)),
        FLOW_CONTROL_ERROR,
    ),
    "QUIC-15 data after FIN": (FINAL + stream(0, 11, b"x"), FINAL_SIZE_ERROR),
    "QUIC-15 FIN before data": (stream(0, 20, b"x") + FINAL, FINAL_SIZE_ERROR),
    "QUIC-15 another FIN": (FINAL + stream(0, 5, b"x", end=True), FINAL_SIZE_ERROR),
    "QUIC-15 reset after FIN": (FINAL + frame(frames.RESET_STREAM, 0, 0, 12), FINAL_SIZE_ERROR),
    "QUIC-15 reset before data": (
        stream(0, 20, b"x") + frame(frames.RESET_STREAM, 0, 0, 3),
        FINAL_SIZE_ERROR,
    ),
    "QUIC-15 beyond 2^62": (stream(0, frames.LARGEST, b"x"), FRAME_ENCODING_ERROR),
    "QUIC-16 one stream too many": (stream(LAST + 4, 0, b"x"), STREAM_LIMIT_ERROR),
    "QUIC-16 one stream too many by its reset": (
        frame(frames.RESET_STREAM, LAST + 4, 0, 0),
        STREAM_LIMIT_ERROR,
    ),
    "QUIC-17 unidirectional stream": (stream(2, 0, b"x"), STREAM_LIMIT_ERROR),
    "QUIC-17 the server's stream": (stream(1, 0, b"x"), STREAM_STATE_ERROR),
    "QUIC-17 the server's unidirectional stream": (stream(3, 0, b"x"), STREAM_STATE_ERROR),
    "QUIC-17 HANDSHAKE_DONE": (frame(frames.HANDSHAKE_DONE), PROTOCOL_VIOLATION),
    "QUIC-17 NEW_TOKEN": (frame(frames.NEW_TOKEN, 3, data=b"abc"), PROTOCOL_VIOLATION),
}
"""What a client may not send."""

SERVERS: dict[str, tuple[Breach, int]] = {
    **EITHER,
    "QUIC-17 unidirectional stream": (stream(3, 0, b"x"), STREAM_LIMIT_ERROR),
    "QUIC-17 a stream of its own": (stream(1, 0, b"x"), STREAM_LIMIT_ERROR),
    "QUIC-17 a stream that the client has not opened": (stream(400, 0, b"x"), STREAM_STATE_ERROR),
    "QUIC-17 credit for a stream that is not there": (
        frame(frames.MAX_STREAM_DATA, 400, 9),
        STREAM_STATE_ERROR,
    ),
    "QUIC-17 NEW_TOKEN of no bytes": (frame(frames.NEW_TOKEN, 0), FRAME_ENCODING_ERROR),
}
"""What a server may not send."""


def rows(table: dict[str, tuple[Breach, int]], role: str) -> list[object]:
    """Return the rows with ids like ``QUIC-17_DATAGRAM-server``; the role is our node's."""
    return [pytest.param(*row, id=f"{name.replace(' ', '_')}-{role}") for name, row in table.items()]


def payload(breach: Breach, peer: Peer) -> bytes:
    """Return the bytes of a breach."""
    return breach if isinstance(breach, bytes) else breach(peer)


@pytest.mark.parametrize(("breach", "code"), rows(CLIENTS, "server"))
async def test_a_server_closes_the_connection(stage: Stage, breach: Breach, code: int) -> None:
    """A client that was let in receives the code of its breach, and the victim notices nothing."""
    async with RogueClient(stage.node.address, valid()) as rogue:
        assert await rogue.outcome() is None
        rogue.inject(payload(breach, rogue))
        closed = await rogue.closed()
    assert (closed.code, closed.frame_type is not None) == (code, True)
    await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)


@pytest.mark.parametrize("delay", [0, frames.LARGEST])
async def test_a_lie_about_delay_changes_little(stage: Stage, delay: int) -> None:
    """However long a client says that it waited to acknowledge, the node's round-trip time stays one (QUIC-14)."""
    async with RogueClient(stage.node.address, valid()) as rogue:
        assert await rogue.outcome() is None
        for _ in range(5):
            number = rogue.connection.largest_received
            rogue.inject(frames.ack([range(number, number + 1)], delay=delay) + frame(frames.PING))
            await rogue.settle()
        assert rogue.connection.closed is None
        (session,) = (one for one in stage.node._listener.sessions if one.label == rogue.local_address)
        loss = session._quic._loss
        assert loss._rtt_min <= loss._rtt_smoothed < 1.0
        assert loss.get_probe_timeout() < 2.0
    await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)


@pytest.mark.parametrize(("breach", "code"), rows(SERVERS, "client"))
async def test_a_client_closes_the_connection(caller: Caller, breach: Breach, code: int) -> None:
    """A server that was let in receives the code of its breach, and the victim notices nothing."""
    async with RogueServer(valid()) as server, caller.node.connect(server.address):
        rogue = await server.peer()
        assert await rogue.outcome() is None
        rogue.inject(payload(breach, rogue))
        closed = await rogue.closed()
    assert (closed.code, closed.frame_type is not None) == (code, True)
    await nodes.ping(caller.victim)
    check_no_fault(caller.caplog)


OPENING = {
    "RESET_STREAM": frame(frames.RESET_STREAM, 4 * 99, 0, 0),
    "STREAM_DATA_BLOCKED": frame(frames.STREAM_DATA_BLOCKED, 4 * 99, 0),
    "STOP_SENDING": frame(frames.STOP_SENDING, 4 * 99, 0),
    "MAX_STREAM_DATA": frame(frames.MAX_STREAM_DATA, 4 * 99, 1 << 20),
}
"""QUIC-16: frames of a few bytes that open a hundred streams."""


@pytest.mark.parametrize("name", OPENING)
async def test_streams_opened_by_one_frame_end_like_others(short_dir: Path, name: str) -> None:
    """Each of the hundred has the deadline of the type byte, the connection lives on, and new streams work."""
    settings = {"transport__typeTimeout": 0.2}
    async with (
        nodes.running(short_dir / "a", **settings) as node,
        RogueClient(node.address, streams.honest("b")) as rogue,
    ):
        assert await rogue.outcome() is None
        for stream_id in range(0, 400, 4):
            rogue.connection.send_stream_data(stream_id, b"")  # sends nothing; now resets are no surprise
        rogue.inject(OPENING[name])
        await rogue.until(lambda: len(rogue.ended) == 100)
        await streams.until(lambda: node.stats()["streams_open"] == 0)
        rogue.inject(stream(400, 0, b"\x01"))
        await streams.until(lambda: node.stats()["streams_open"] == 1)
        assert rogue.connection.closed is None
