"""The end of a handshake, waited for from anywhere."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tndrl.errors import NoAnswerError
from tndrl.transport.confirmation import Confirmation


class Handshake:
    """One that ends when the test says so."""

    def __init__(self, *, fails: bool) -> None:
        self.ends = asyncio.Event()
        self._fails = fails

    async def wait_confirmed(self) -> None:
        await self.ends.wait()
        if self._fails:
            raise NoAnswerError("b:1", 1)


@pytest.mark.parametrize("fails", [False, True])
async def test_threads_and_loops_hear_of_it(fails: bool) -> None:
    """Whoever waits, on whatever thread or loop, and whoever comes later gets the same answer."""
    handshake, confirmation, heard = Handshake(fails=fails), Confirmation(), []
    threads = [
        threading.Thread(target=lambda: heard.append(confirmation.wait())),
        threading.Thread(target=lambda: heard.append(asyncio.run(confirmation.arrived()))),
    ]
    for thread in threads:
        thread.start()
    following = asyncio.ensure_future(confirmation.follow(handshake))
    waiting = asyncio.ensure_future(confirmation.arrived())
    await asyncio.sleep(0)
    assert not confirmation.is_confirmed
    handshake.ends.set()
    await following
    assert confirmation.is_confirmed is not fails
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert [await waiting, confirmation.wait(), *heard] == [not fails] * 4


async def test_whoever_gives_up_leaves_the_others() -> None:
    """A call that is cancelled while it is held does not end the wait of the rest."""
    handshake, confirmation = Handshake(fails=False), Confirmation()
    one, two = (asyncio.ensure_future(confirmation.arrived()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait({one})
    handshake.ends.set()
    await confirmation.follow(handshake)
    assert await two is True
