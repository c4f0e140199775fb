"""QUIC-08: datagrams with faults in them, and bytes that never were one, at an endpoint with a live connection on it.

They are handed to the endpoint as its socket does, 10,000 in every run.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice

import pytest
from aioquic.tls import Epoch

from rogue import frames
from rogue.pair import Pair
from support import streams
from support.cost import timed
from wire.faults import faulty
from wire.stages import check_no_fault
from wire.test_handshake import valid

ROUNDS = [20, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
EACH = 500
"""Datagrams for each endpoint, which has limits on handshakes under way."""

BATCH = 20
"""Datagrams that come at once."""

LARGEST = 65_507
"""Bytes that UDP over IPv4 carries."""

EDGES = (b"", b"\x40", b"\xc0", bytes(LARGEST), b"\xff" * LARGEST)
VERSIONS = (b"\0\0\0\1", b"\0\0\0\0", b"\x6b\x33\x43\xcf", b"\x0a\x0a\x0a\x0a")
VALID = valid()


def attacks(live: list[bytes], dice: random.Random) -> Iterator[bytes]:
    """Yield datagrams: of nobody, of others' connections and of the one that lives here, nearly all with faults."""
    corpus = [*recorded(), *live * 4]
    while True:
        kind = dice.random()
        if kind < 0.6:
            yield faulty(dice.choice(corpus), dice, corpus)
        elif kind < 0.7:
            yield dice.choice(live) + dice.randbytes(dice.randrange(1, 600))  # junk after a valid packet
        elif kind < 0.85:
            yield dice.randbytes(1 + min(LARGEST - 1, int(dice.expovariate(1 / 300))))
        elif kind < 0.9:
            yield initial(faulty(frames.crypto(0, b"\x01\x00\x00\x40" + bytes(64)), dice) + bytes(40))
        elif kind < 0.95:
            yield long_header(dice)
        else:
            yield dice.choice(EDGES)


def recorded() -> list[bytes]:
    """Return what both sides of a complete connection sent."""
    pairs = [Pair(VALID, rogue_is_client=rogue_is_client) for rogue_is_client in (True, False)]
    for pair in pairs:
        pair.exchange()
    return [data for pair in pairs for data in pair.sent]


def initial(payload: bytes) -> bytes:
    """Return the first packet of a new client, with valid protection around what shall pass for frames."""
    return Pair(VALID, rogue_is_client=True).rogue.packet(payload, Epoch.INITIAL).ljust(1200, b"\0")


def long_header(dice: random.Random) -> bytes:
    """Return a packet of any type and some version, with a connection ID of some length."""
    first = bytes([0x80 | dice.randrange(128), *dice.choice(VERSIONS), dice.choice((0, 8, 20, 21, 255))])
    return (first + dice.randbytes(dice.randrange(300))).ljust(dice.choice((0, 1200)), b"\0")


@asynccontextmanager
async def living() -> AsyncIterator[tuple[streams.Quic, list[bytes]]]:
    """Yield a connection and what its client has sent."""
    async with streams.connected() as quic:
        heard: list[bytes] = []
        udp = quic.server_endpoint._udp
        receive = udp._on_datagram
        udp._on_datagram = lambda data, address: (heard.append(data), receive(data, address))
        near, far = await quic.streams()
        await far.send(b"?")
        await near.receive(1)
        await quic.exchange()
        udp._on_datagram = receive
        yield quic, heard


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_datagrams(caplog: pytest.LogCaptureFixture, rounds: int) -> None:
    """Nothing escapes, nothing takes long, and the connection next to it goes on."""
    caplog.set_level(logging.ERROR)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        for index in range(rounds):
            dice = random.Random(index)
            async with living() as (quic, live):
                udp, addresses = quic.server_endpoint._udp, (quic.server.address, nobody.getsockname())
                for number, data in enumerate(islice(attacks(live, dice), EACH)):
                    timed(partial(udp._on_datagram, data, dice.choice(addresses)), data[:40])
                    if number % BATCH == 0:
                        timed(udp._on_batch, data[:40])
                        await asyncio.sleep(0)
                await quic.exchange()
                assert quic.client.is_connected
                assert quic.server.is_connected
    check_no_fault(caplog)
