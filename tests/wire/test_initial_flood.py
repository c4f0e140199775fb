"""4,000 senseless first packets a second: what they cost a node, and whom they disturb (QUIC-01)."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from support import nodes, processes, victim
from wire.test_first_packets import strangers

PER_SECOND = 4000
MEBIBYTE = 1024 * 1024


def garbage(dice: random.Random) -> bytes:
    """Return a well-formed Initial header with a body that decrypts to nothing."""
    head = b"\xc3\0\0\0\x01\x08" + dice.randbytes(8) + b"\x08" + dice.randbytes(8) + b"\0"
    length = 1200 - len(head) - 2
    return head + (0x4000 | length).to_bytes(2, "big") + os.urandom(length)


async def flood(address: tuple[str, int], seconds: float) -> int:
    """Send garbage from many addresses, evenly; return how many datagrams were sent."""
    dice, loop, sent = random.Random(1), asyncio.get_running_loop(), 0
    with strangers(100) as everybody:
        began = loop.time()
        while (elapsed := loop.time() - began) < seconds:
            while sent < elapsed * PER_SECOND:
                everybody[sent % 100].send(garbage(dice), address)
                sent += 1
            everybody[dice.randrange(100)].waiting()
            await asyncio.sleep(0.005)
    return sent


@pytest.mark.serial
@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(180)])])
async def test_a_flood_of_garbage(short_dir: Path, seconds: float) -> None:
    """The node grows by 16 MiB at most, the victim waits no longer, and ten seconds later nothing is left of it."""
    async with (
        processes.serving(short_dir / "a") as node,
        victim.beside(node.address, short_dir / "victim") as bystander,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        host, port = node.address.rsplit(":", 1)
        meter = victim.Meter(node.pid)
        async with bystander.attack():
            sent = await flood((host, int(port)), seconds)
        ended, growth, cpu = time.monotonic(), meter.growth, meter.cpu
        print(f"{sent} packets, {cpu / sent * 1e6:.0f} us each, {growth / MEBIBYTE:.1f} MiB")
        bystander.assert_unharmed()
        assert growth <= 16 * MEBIBYTE
        about = (await nodes.status(peer)).metadata
        assert int(about["retries_sent"]) > sent / 2
        assert int(about["handshakes_open"]) <= 32
        while int((await nodes.status(peer)).metadata["handshakes_open"]):
            assert time.monotonic() - ended < 10
            await asyncio.sleep(0.2)
        assert int((await nodes.status(peer)).metadata["connections_open"]) == 2
