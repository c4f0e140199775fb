"""The client for the OpenAI chat API; what its failures mean is tested with the providers that use it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from tndrl.llm import chat_api
from tndrl.llm.services import ModelPlace

PLACE = ModelPlace("ollama", "m", "http://user:pw@host:1/v1?key=k", "")


def test_a_reason_is_found_among_the_causes():
    """A library's own exceptions say less than what they were raised from."""
    outer = RuntimeError("secret")
    outer.__cause__ = TimeoutError()
    assert chat_api.failure(PLACE, outer).reason == "the model service did not answer in time"


def test_what_has_no_reason_is_no_answer(caplog):
    """The log names the class and the host, and nothing that could be a secret."""
    assert chat_api.failure(PLACE, ValueError("secret")).reason == "the model service sent what is no answer"
    assert "ollama at http://host:1: " in caplog.text
    assert "(ValueError)" in caplog.text
    assert not any(word in caplog.text for word in ("secret", "pw", "key=k"))


async def test_a_step_in_time_is_returned():
    """The limit changes nothing then."""
    assert await chat_api.within(1, asyncio.sleep(0, "done")) == "done"


async def test_a_step_out_of_time_is_cancelled():
    """It ends before the error is raised."""
    ended = asyncio.Event()

    async def step():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await chat_api.within(0.01, step())
    assert ended.is_set()


@pytest.mark.parametrize(
    ("content", "reason", "expected"),
    [("a", None, ("a", False)), ("", "stop", ("", True)), (None, "length", ("", True)), (5, "", ("", False))],
)
def test_a_piece_of_an_answer(content, reason, expected):
    """Its text, and whether it is the last."""
    first = SimpleNamespace(delta=SimpleNamespace(content=content), finish_reason=reason)
    assert chat_api.choice_of(SimpleNamespace(choices=[first])) == expected


@pytest.mark.parametrize("chunk", [5, None, SimpleNamespace(choices=None), SimpleNamespace(choices=[])])
def test_a_piece_of_no_answer_says_nothing(chunk):
    """The client hands on whatever JSON a server sends."""
    assert chat_api.choice_of(chunk) == ("", False)
