"""What a handshake may make us hold: gaps, and bytes ahead of their turn."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from rogue import frames
from rogue.peer import RogueClient
from support import streams
from tndrl.transport._aioquic.handshake import MAX_AHEAD, HandshakeLimits
from tndrl.transport._aioquic.reassembly import CryptoRanges
from tndrl.transport.codes import TransportCode

ATTACKS = {
    "far ahead": lambda epoch: frames.crypto(2 * MAX_AHEAD[epoch], b"x"),
    "gaps": lambda _epoch: b"".join(frames.crypto(5000 + 2 * n, b"x") for n in range(65)),
}
"""What is sent at one encryption level before the handshake is complete."""


CASES = [
    pytest.param(name, epoch, id=f"{name.replace(' ', '_')}-{epoch.name}")
    for name in ATTACKS
    for epoch in (Epoch.INITIAL, Epoch.HANDSHAKE)
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


@pytest.mark.parametrize("kind", ["crypto", "padding"])
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
