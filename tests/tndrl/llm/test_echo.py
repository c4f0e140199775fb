"""The echo provider."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tndrl.errors import ConfigError, UsageError
from tndrl.llm.echo import EchoProvider
from tndrl.llm.provider import Turn


async def pieces(provider, *words):
    return [piece async for piece in provider.reply([Turn("user", word) for word in words])]


async def test_the_last_prompt_comes_back_in_one_piece():
    """Without options the answer is the prompt."""
    assert await pieces(EchoProvider(), "one", "two") == ["two"]


async def test_an_empty_prompt_has_an_empty_answer():
    """There is nothing to repeat."""
    assert await pieces(EchoProvider(times=3), "") == []


async def test_pieces_have_the_length_asked_for():
    """The last one of each repetition is what is left."""
    assert await pieces(EchoProvider(chunk=2, times=2), "abcde") == ["ab", "cd", "e", "ab", "cd", "e"]


async def test_each_piece_comes_after_the_delay():
    """Nothing comes before it has passed, the first piece neither."""
    reply = EchoProvider(delay=3600).reply([Turn("user", "hello")])
    async with aclosing(reply):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reply), 0.01)


async def test_there_must_be_a_prompt():
    """An empty conversation is the caller's mistake."""
    with pytest.raises(UsageError):
        await pieces(EchoProvider())


async def test_it_holds_nothing():
    """Closing it twice is fine."""
    provider = EchoProvider()
    await provider.aclose()
    await provider.aclose()


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ("", EchoProvider()),
        ("times=200", EchoProvider(times=200)),
        ("chunk=20, delay=0.05,times=3", EchoProvider(20, 0.05, 3)),
    ],
)
def test_options_are_read_from_text(text, provider):
    """Each is optional."""
    assert EchoProvider.from_text(text) == provider


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("llama3.2", "echo has the options chunk, delay and times; write chunk=20,delay=0.05"),
        ("chunk=x", "chunk must be a whole number from 0 to 1000000; write chunk=1"),
        ("chunk=1.5", "chunk must be a whole number"),
        ("times=", "times must be a whole number"),
        ("delay=-1", "delay must be seconds from 0 to 1000000"),
        ("delay=nan", "delay must be seconds"),
        ("times=1000001", "times must be a whole number"),
    ],
)
def test_bad_options_are_refused(text, problem):
    """The error names the option and what it may be."""
    with pytest.raises(ConfigError) as caught:
        EchoProvider.from_text(text)
    assert caught.value.key == "llm.model"
    assert problem in caught.value.problem
