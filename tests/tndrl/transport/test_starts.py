"""How many handshakes begin at once."""

from __future__ import annotations

import asyncio

import pytest

from tndrl.transport import starts
from tndrl.transport.starts import Starts


async def test_so_many_at_once() -> None:
    """No more than allowed have their turn together, and all have one."""
    begun, now, most = Starts(3), 0, 0

    async def one() -> None:
        nonlocal now, most
        async with begun.turn():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert (now, most) == (0, 3)


async def test_who_is_not_answered_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes long holds up the others for so long only, and gives its turn back once."""
    monkeypatch.setattr(starts, "LONGEST", 0.01)
    begun = Starts(1)
    async with begun.turn(), asyncio.timeout(5), begun.turn():
        pass
    async with begun.turn():
        assert begun._free.locked()


async def test_a_cancelled_wait() -> None:
    """Who gives up waiting takes nobody's turn."""
    begun = Starts(1)
    async with begun.turn():
        waiting = asyncio.ensure_future(begun.turn().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with asyncio.timeout(5), begun.turn():
        pass
