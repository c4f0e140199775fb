"""Reading an answer while it is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest

from support.agents import Puppet
from tndrl.agent import reading
from tndrl.agent.reading import MAX_WAITING, Reading
from tndrl.errors import ProviderError


async def texts(one: Reading) -> list[str]:
    async with one:
        return [text async for text in one.texts()]


async def test_pieces_are_joined() -> None:
    """Pieces that come at once are one text."""
    assert await texts(Reading(Puppet("a", "", "b", "c").reply([]))) == ["abc"]


async def test_an_empty_answer() -> None:
    """An answer of nothing has no texts."""
    assert await texts(Reading(Puppet("").reply([]))) == []


async def test_the_first_piece_does_not_wait() -> None:
    """The first text is there at once, however long the interval; what follows within it is joined."""
    first = asyncio.Event()

    async def pieces() -> AsyncGenerator[str]:
        yield "a"
        await first.wait()
        yield "b"
        await asyncio.sleep(0)
        yield "c"

    seen = []
    async with asyncio.timeout(5), Reading(pieces(), interval=3600) as one:
        async for text in one.texts():
            seen.append(text)
            first.set()
    assert seen == ["a", "bc"]


async def test_texts_are_apart() -> None:
    """While pieces keep coming, there is at most one text in an interval."""
    loop = asyncio.get_running_loop()

    async def pieces() -> AsyncGenerator[str]:
        until = loop.time() + 0.4
        while loop.time() < until:
            yield "x"
            await asyncio.sleep(0.001)

    began = loop.time()
    assert len(await texts(Reading(pieces(), interval=0.1))) <= 2 + (loop.time() - began) / 0.1


async def test_errors_follow_the_texts() -> None:
    """What the provider raises comes after all that it has said."""
    async with Reading(Puppet("a", "b", then=ProviderError("gone")).reply([])) as one:
        got = one.texts()
        assert await anext(got) == "ab"
        with pytest.raises(ProviderError, match="gone"):
            await anext(got)


async def test_too_long() -> None:
    """A provider that does not come to an end has failed."""
    with pytest.raises(ProviderError, match="more than 3 characters"):
        await texts(Reading(Puppet("ab", "cd").reply([]), longest=3))


async def test_a_fast_provider_waits() -> None:
    """No more is read ahead than a bound, however much there is."""
    said = 0

    async def pieces() -> AsyncGenerator[str]:
        nonlocal said
        for _ in range(10):
            said += 1
            yield "x" * (MAX_WAITING // 2)

    async with Reading(pieces(), interval=0) as one:
        got = one.texts()
        first = await anext(got)
        assert (len(first), said) == (MAX_WAITING, 2)
        assert sum([len(text) async for text in got]) == 8 * MAX_WAITING // 2


async def test_stopping() -> None:
    """Stopped, there are no more texts, and the provider's work has ended when the block is left."""
    puppet, seen = Puppet("a", "b", then="hold"), []
    async with asyncio.timeout(5), Reading(puppet.reply([])) as one:
        async for text in one.texts():
            seen.append(text)
            one.stop()
            one.stop()
    assert (seen, one.stopped, puppet.ended.count) == (["ab"], True, 1)


async def test_stopping_while_nothing_comes() -> None:
    """A reader that waits for a text is woken up by the stop."""
    puppet = Puppet(then="hold")
    async with asyncio.timeout(5), Reading(puppet.reply([])) as one:
        asyncio.get_running_loop().call_soon(one.stop)
        assert [text async for text in one.texts()] == []
    assert puppet.begun.count == puppet.ended.count


async def test_stopped_before_it_began() -> None:
    """Stopped before it is entered, it never asks the provider."""
    puppet = Puppet("a")
    one = Reading(puppet.reply([]))
    one.stop()
    assert await texts(one) == []
    assert puppet.begun.count == 0


async def test_a_provider_that_fails_when_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """What a provider raises as it is told to end is logged and nothing more."""
    caplog.set_level(logging.DEBUG, "tndrl.agent")

    async def pieces() -> AsyncGenerator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            raise ValueError("no")

    async with Reading(pieces()) as one:
        async for _ in one.texts():
            one.stop()
    assert "ValueError('no')" in caplog.text


async def test_a_provider_that_does_not_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that does not end when it is told to is abandoned after a while, and that is logged."""
    monkeypatch.setattr(reading, "STOP_TIMEOUT", 0.01)
    release = asyncio.Event()

    async def pieces() -> AsyncGenerator[str]:
        yield "a"
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(5), Reading(pieces()) as one:
        async for _ in one.texts():
            one.stop()
    assert "it is abandoned" in caplog.text
    release.set()
