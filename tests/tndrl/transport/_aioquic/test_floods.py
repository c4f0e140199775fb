"""Frames out of all proportion to the bytes and the time they come in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from rogue import frames
from rogue.peer import Peer, RogueClient
from support import streams
from tndrl.transport._aioquic.floods import (
    BYTES_PER_FRAME,
    HANDSHAKE_FRAMES,
    PER_SECOND,
    STEP,
    FrameAllowance,
)
from tndrl.transport.codes import TransportCode

PING = frames.frame(frames.PING)


def test_a_burst_is_free() -> None:
    """As many frames as a second brings may come at once, whatever their size."""
    allowance = FrameAllowance()
    assert allowance.covers(PER_SECOND, 0, 1.0)
    assert not allowance.covers(PER_SECOND + 1, 0, 1.0)


def test_time_brings_more_but_not_for_ever() -> None:
    """A peer that was silent for an hour has no more than one that was for a second."""
    allowance = FrameAllowance()
    assert allowance.covers(PER_SECOND, 0, 1.0)
    assert allowance.covers(PER_SECOND + PER_SECOND // 2, 0, 1.5)
    assert allowance.covers(PER_SECOND + PER_SECOND // 2, 0, 3600.0)
    assert not allowance.covers(3 * PER_SECOND, 0, 3600.0)


def test_bytes_pay_for_frames() -> None:
    """A peer may go on for ever at any speed, so long as its frames have some bytes each."""
    allowance = FrameAllowance()
    for step in range(1, 1000):
        assert allowance.covers(step * STEP, step * STEP * BYTES_PER_FRAME, 1.0)


def test_the_smallest_datagram_pays_for_one_frame() -> None:
    """A header, a packet number, a tag and what the tag needs to stand on: no datagram is shorter."""
    assert BYTES_PER_FRAME <= 1 + 8 + 2 + 2 + 16


ATTACKS = {
    "crypto": lambda _epoch: frames.crypto(5000, b"x") * (HANDSHAKE_FRAMES + 1),
    "pings": lambda _epoch: PING * (HANDSHAKE_FRAMES + 1),
    "padding": lambda _epoch: (b"\0" + PING) * HANDSHAKE_FRAMES,
}
"""What is sent before the handshake is complete."""


@pytest.mark.parametrize("epoch", [Epoch.INITIAL, Epoch.HANDSHAKE], ids=["INITIAL", "HANDSHAKE"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_a_handshake_has_so_many_frames(name: str, epoch: Epoch) -> None:
    """A client that sends more before it has said who it is, is closed with CRYPTO_BUFFER_EXCEEDED."""
    silent = replace(streams.honest("b"), arrange=lambda flight: flight if len(flight) == 1 else [])
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", silent) as rogue:
            await rogue.until(lambda: rogue.connection.has_keys(epoch))
            rogue.inject(frames.crypto(5000, b"x") + ATTACKS[name](epoch), epoch)
            assert (await rogue.closed()).code == TransportCode.CRYPTO_BUFFER_EXCEEDED


def again(rogue: Peer) -> bytes:
    """Return an ACK frame of the last packet that came."""
    number = rogue.connection.largest_received
    return frames.ack([range(number, number + 1)])


FLOODS = {
    "PING": lambda _rogue: PING,
    "MAX_DATA": lambda _rogue: frames.frame(frames.MAX_DATA, 1),
    "STREAM again": lambda _rogue: frames.stream(0, 5, b"x"),
    "DATA_BLOCKED": lambda _rogue: frames.frame(frames.DATA_BLOCKED, 1),
    "ACK": again,
}
"""Frames that bring nothing."""


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_frames_ends_the_connection(name: str) -> None:
    """A client that was let in and packs frames without use densely is closed with PROTOCOL_VIOLATION."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            frame = FLOODS[name](rogue)
            await rogue.flood(frame for _ in range(4 * PER_SECOND))
            assert rogue.connection.closed is not None
            assert rogue.connection.closed.code == TransportCode.PROTOCOL_VIOLATION


async def test_one_frame_a_packet_is_no_flood() -> None:
    """A client may send small packets for as long as it likes: what they cost is a matter of turns."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            for number in range(PER_SECOND + 4 * STEP):
                rogue.inject(PING)
                if number % 32 == 0:
                    await rogue.settle()
            await rogue.settle()
            assert rogue.connection.closed is None


async def test_the_smallest_packets_pay_for_themselves() -> None:
    """A PING is padded to what its tag needs to stand on, and that costs nothing, however many there are in no time."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            connection = (await server.confirmed.get())._quic
            before = connection._frames, connection._received_bytes
            for _ in range(100):
                rogue.inject(PING)
            await rogue.settle()
            sent, size = connection._frames - before[0], connection._received_bytes - before[1]
            assert sent >= 100
            assert size >= sent * BYTES_PER_FRAME


async def test_frames_are_of_the_time_of_their_datagram() -> None:
    """What time has brought is reckoned when a datagram comes, whichever way its packet takes."""
    async with streams.connected() as quic:
        near, far = await quic.streams()
        await near.send(b"x")
        await far.receive()
        assert quic.server._quic._received_at == quic.server.heard_at


async def test_aioquic_has_the_table_of_handlers() -> None:
    """Every frame passes through the table that is wrapped, under the name it had."""
    async with streams.connected() as quic:
        connection = quic.client._quic
        theirs = QuicConnection.__init__.__code__.co_names
        assert "_QuicConnection__frame_handlers" in theirs
        before = connection._frames
        await quic.exchange()
        assert connection._frames > before
