"""What a handshake may take: gaps, bytes ahead of their turn, frames."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from rogue import frames
from rogue.peer import RogueClient
from support import streams
from tndrl.transport._aioquic.handshake import MAX_AHEAD, MAX_FRAMES, HandshakeLimits
from tndrl.transport._aioquic.reassembly import CryptoRanges
from tndrl.transport.codes import TransportCode

ATTACKS = {
    "far ahead": lambda epoch: frames.crypto(2 * MAX_AHEAD[epoch], b"x"),
    "gaps": lambda _epoch: b"".join(frames.crypto(5000 + 2 * n, b"x") for n in range(65)),
    "frames": lambda _epoch: frames.crypto(5000, b"x") * (MAX_FRAMES + 1),
    "pings": lambda _epoch: frames.frame(frames.PING) * (MAX_FRAMES + 1),
    "padding": lambda _epoch: frames.crypto(5000, b"x") + b"\0\x01" * MAX_FRAMES,
    "acknowledgements": lambda _epoch: frames.ack([range(1)]) * (MAX_FRAMES + 1),
}
"""What is sent at one encryption level before the handshake is complete."""


CASES = [
    pytest.param(name, epoch, id=f"{name.replace(' ', '_')}-{epoch.name}")
    for name in ATTACKS
    for epoch in (Epoch.INITIAL, Epoch.HANDSHAKE)
    if (name, epoch)
    != ("acknowledgements", Epoch.INITIAL)  # the first of them has nothing to acknowledge yet
]


@pytest.mark.parametrize(("name", "epoch"), CASES)
async def test_a_handshake_takes_no_more_than_it_needs(name: str, epoch: Epoch) -> None:
    """Each attack is closed with CRYPTO_BUFFER_EXCEEDED before the client has said who it is."""
    silent = replace(streams.honest("b"), arrange=lambda flight: flight if len(flight) == 1 else [])
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", silent) as rogue:
            await rogue.until(lambda: rogue.connection.has_keys(epoch))
            rogue.inject(ATTACKS[name](epoch), epoch)
            assert (await rogue.closed()).code == TransportCode.CRYPTO_BUFFER_EXCEEDED


async def test_frames_are_not_counted_afterwards() -> None:
    """Once the peer is known, a connection may live for ever."""
    async with streams.connected() as quic:
        for _ in range(2):
            await quic.exchange()
        counts = [side._quic._handshake_frames for side in (quic.client, quic.server)]
        await quic.exchange()
        assert [side._quic._handshake_frames for side in (quic.client, quic.server)] == counts


async def test_crypto_after_the_handshake_is_bounded_too() -> None:
    """A peer that was let in holds no more of TLS in our memory than one message."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            rogue.inject(frames.crypto(2 * MAX_AHEAD[Epoch.ONE_RTT], b"x"))
            assert (await rogue.closed()).code == TransportCode.CRYPTO_BUFFER_EXCEEDED


async def test_padding_is_skipped_at_once() -> None:
    """Padding ends where the next frame begins, or with the packet."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            rogue.inject(bytes(500) + frames.frame(0x21))
            assert (await rogue.closed()).frame_type == 0x21


# What aioquic must still have


@pytest.mark.parametrize("kind", ["crypto", "ack", "ping", "padding"])
def test_aioquic_has_the_handler(kind: str) -> None:
    """A handler that is overridden exists in the base class with the same arguments."""
    name = f"_handle_{kind}_frame"
    assert list(signature(getattr(QuicConnection, name)).parameters) == [
        "self",
        "context",
        "frame_type",
        "buf",
    ]
    assert getattr(HandshakeLimits, name) is not getattr(QuicConnection, name)


async def test_aioquic_has_the_crypto_streams() -> None:
    """Each encryption level has a stream whose ranges are ours."""
    async with streams.connected() as quic:
        crypto = quic.client._quic._crypto_streams
        assert set(crypto) == set(MAX_AHEAD)
        assert {type(stream.receiver._ranges) for stream in crypto.values()} == {CryptoRanges}
        assert crypto[Epoch.HANDSHAKE].receiver.starting_offset() > 0
