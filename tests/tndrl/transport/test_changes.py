"""Waiting for something to be different."""

from __future__ import annotations

import asyncio

from tndrl.transport.changes import Changes


async def test_all_who_wait_are_woken_once() -> None:
    """Whoever waits is woken by the next change, and by no other."""
    changes = Changes()
    waiting = [asyncio.ensure_future(changes.next()) for _ in range(3)]
    await asyncio.sleep(0)
    changes.tell()
    await asyncio.gather(*waiting)
    assert not changes._waiters
    changes.tell()


async def test_a_wait_ends_with_its_time() -> None:
    """Without a change a wait with a timeout ends by itself."""
    await Changes().next(timeout=0.01)


async def test_a_cancelled_wait_leaves_nothing() -> None:
    """Nobody wakes who does not wait any more."""
    changes = Changes()
    waiting = asyncio.ensure_future(changes.next())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert not changes._waiters
