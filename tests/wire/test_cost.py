"""What a certificate made to cost much costs: TLS-22 and TLS-36, CPU time of the handshake, both sides of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable

import pytest

from pki.svid import Usage
from rogue.script import Script
from support.certs import BAD
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
