"""What a peer that has proved nothing can make a node compute: TLS-22, TLS-36 and QUIC-05."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aioquic.tls import Epoch

from pki.svid import Usage
from rogue import frames
from rogue.peer import Peer, RogueClient, packed
from rogue.script import Script
from support import processes, streams, victim
from support.certs import BAD
from support.victim import Meter
from tndrl.config import LimitsConfig
from tndrl.transport.codes import TransportCode
from wire.stages import Caller, Stage

CEILING = 0.050
"""Seconds of CPU."""

COSTLY = [name for name in BAD if name.startswith(("TLS-22", "TLS-36"))]


async def cheapest(attack: Callable[[], Awaitable[object]], rounds: int = 3) -> float:
    """Return the CPU seconds of the cheapest of some rounds: the rest is the machine's noise."""
    spent = []
    gc.disable()
    try:
        for _ in range(rounds):
            begin = time.process_time()
            await attack()
            spent.append(time.process_time() - begin)
    finally:
        gc.enable()
    return min(spent)


def script(name: str, usage: Usage) -> Script:
    """Return the script of a peer that presents a costly chain."""
    made = BAD[name].make(usage)
    assert made is not None
    return Script(chain=made.chain_der, key=made.key)


@pytest.mark.serial
@pytest.mark.parametrize("name", COSTLY, ids=[f"{name.replace(' ', '_')}-server" for name in COSTLY])
async def test_a_costly_client_is_refused_cheaply(stage: Stage, name: str) -> None:
    """A chain too long, circular or full of junk, or a huge key, costs a server at most 50 ms of CPU."""
    rogue = script(name, Usage.CLIENT)
    assert await cheapest(lambda: stage.refused(rogue)) <= CEILING


@pytest.mark.serial
@pytest.mark.parametrize("name", COSTLY, ids=[f"{name.replace(' ', '_')}-client" for name in COSTLY])
async def test_a_costly_server_is_refused_cheaply(caller: Caller, name: str) -> None:
    """The same from a server."""
    rogue = script(name, Usage.SERVER)
    assert await cheapest(lambda: caller.refuses(rogue)) <= CEILING


# QUIC-05: bytes of a handshake that never comes together

ROUNDS = 10
"""Connections over which the node's CPU time is measured: the system counts it in hundredths of a second."""

AHEAD = 8_192
GAPS = LimitsConfig().crypto_gaps
FRAMES = 400
"""Frames that a handshake may have, and some of them are needed for it."""


def gapped(_start: int) -> Iterator[bytes]:
    """Yield single bytes with gaps between them, many more than there may be."""
    return (frames.crypto(AHEAD + 2 * number, b"x") for number in range(4_000))


def repeated(_start: int) -> Iterator[bytes]:
    """Yield as many gaps as there may be, and the last byte again and again."""
    return (frames.crypto(AHEAD + 2 * min(number, GAPS - 1), b"x") for number in range(FRAMES))


def giant(start: int) -> Iterator[bytes]:
    """Yield the begin of a message of 16 MB, in order."""
    body = b"\x0b\xff\xff\xff" + bytes(200_000)
    return (frames.crypto(start + at, body[at : at + 1_000]) for at in range(0, len(body), 1_000))


async def attack(peer: Peer, epoch: Epoch, make: Callable[[int], Iterator[bytes]]) -> None:
    """Send it all at one level of the handshake, and give the node time to take it."""
    start = peer.connection._crypto_streams[epoch].sender._buffer_stop
    for payload in packed(make(start)):
        if peer.connection.closed is not None:
            break
        peer.inject(payload, epoch)
        await asyncio.sleep(0)


@pytest.mark.serial
@pytest.mark.parametrize("make", [gapped, repeated, giant])
@pytest.mark.parametrize("epoch", [Epoch.INITIAL, Epoch.HANDSHAKE, Epoch.ONE_RTT])
async def test_a_handshake_in_pieces_costs_little(
    short_dir: Path, epoch: Epoch, make: Callable[[int], Iterator[bytes]]
) -> None:
    """Giant and gapped CRYPTO frames end a connection, which has cost at most 50 ms of CPU with its handshake."""
    async with (
        processes.serving(short_dir / "a") as node,
        victim.unharmed(node.address, short_dir / "victim"),
    ):
        meter = Meter(node.pid)
        for _ in range(ROUNDS):
            async with RogueClient(node.address, streams.honest("b")) as rogue:
                if epoch is Epoch.ONE_RTT:
                    assert await rogue.outcome() is None
                else:
                    # Its answer to the server's flight stays out.
                    rogue.connection.datagrams_to_send = lambda _now: []
                    await rogue.until(lambda rogue=rogue: rogue.connection.has_keys(epoch))
                await attack(rogue, epoch, make)
                if make is not repeated:
                    assert (await rogue.closed()).code == TransportCode.CRYPTO_BUFFER_EXCEEDED
        async with RogueClient(node.address, streams.honest("b")) as last:
            assert await last.outcome() is None  # so all before has been taken
        print(f"{make.__name__} at {epoch.name}: {1000 * meter.cpu / ROUNDS:.0f} ms for each connection")
        assert meter.cpu / ROUNDS <= CEILING
