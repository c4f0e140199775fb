"""The provider for servers of the OpenAI chat API, against a real one."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import traceback
from contextlib import aclosing, asynccontextmanager

import pytest

from support.chat_server import breaks, chat_server, fails, says
from tndrl.errors import ProviderError, UsageError
from tndrl.llm.ollama import OllamaProvider
from tndrl.llm.provider import Turn
from tndrl.llm.services import ModelPlace

SECRET = "sk-very-secret"  # noqa: S105 - it is one for the test only
HELLO = [Turn("user", "hello")]


@asynccontextmanager
async def provider_at(url, **options):
    provider = OllamaProvider(ModelPlace("ollama", "llama", url, SECRET), **options)
    try:
        yield provider
    finally:
        await provider.aclose()


async def answer(provider, turns=HELLO):
    return [piece async for piece in provider.reply(turns)]


async def reason(provider):
    with pytest.raises(ProviderError) as caught:
        await answer(provider)
    return caught.value.reason


async def test_the_answer_comes_in_the_pieces_of_the_model():
    """Nothing is joined, cut or left out."""
    async with chat_server(says("Hel", "", "lo ", "✓")) as server, provider_at(server.url) as provider:
        assert await answer(provider) == ["Hel", "lo ", "✓"]


async def test_a_piece_comes_before_the_next_is_there():
    """The answer streams: the server sends no more, and its first word has arrived."""
    async with chat_server() as server, provider_at(server.url) as provider:
        server.answers.append(server.hangs("first"))
        async with aclosing(provider.reply(HELLO)) as reply:
            assert await anext(reply) == "first"


async def test_the_whole_conversation_is_sent():
    """The system prompt first, then every turn under the name the API has for its side."""
    turns = [Turn("user", "one"), Turn("agent", "two"), Turn("user", "three")]
    async with chat_server(says("ok")) as server, provider_at(server.url, system_prompt="Be.") as provider:
        await answer(provider, turns)
    assert server.requests == [
        {
            "model": "llama",
            "stream": True,
            "messages": [
                {"role": "system", "content": "Be."},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": "three"},
            ],
        }
    ]


async def test_no_system_prompt_is_sent_where_there_is_none():
    """The conversation stands alone then."""
    async with chat_server(says("ok")) as server, provider_at(server.url) as provider:
        await answer(provider)
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests[0]["messages"] == [{"role": "user", "content": "hello"}]


async def test_replies_run_side_by_side():
    """One that hangs holds up no other."""
    async with chat_server() as server, provider_at(server.url) as provider:
        server.answers += [server.hangs("slow"), says("fast")]
        async with aclosing(provider.reply(HELLO)) as reply:
            assert await anext(reply) == "slow"
            assert await answer(provider) == ["fast"]


async def test_a_failure_leaves_the_provider_usable():
    """The next prompt is answered."""
    async with chat_server(fails(500), says("ok")) as server, provider_at(server.url) as provider:
        assert await reason(provider) == "the model service failed (HTTP 500)"
        assert await answer(provider) == ["ok"]


async def test_nothing_is_asked_twice():
    """A service that refuses has seen one request, whatever it says about trying again."""
    busy = fails(429, "later", "Retry-After: 0")
    async with chat_server(busy, says("ok")) as server, provider_at(server.url) as provider:
        await reason(provider)
    assert len(server.requests) == 1


async def test_there_must_be_a_prompt():
    """An empty conversation is the caller's mistake, and is not sent."""
    async with chat_server() as server, provider_at(server.url) as provider:
        with pytest.raises(UsageError):
            await answer(provider, [])
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "the model service refused the request (HTTP 400)"),
        (401, "the model service refused our key"),
        (403, "the model service refused our key"),
        (404, "the model service has no such model"),
        (429, "the model service has too much to do"),
        (500, "the model service failed (HTTP 500)"),
        (503, "the model service failed (HTTP 503)"),
    ],
)
async def test_an_error_status_has_a_reason(status, words):
    """The status decides it; what the server says about it is not repeated."""
    async with chat_server(fails(status, "because")) as server, provider_at(server.url) as provider:
        assert await reason(provider) == words


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (breaks(end=False), "the connection to the model service failed"),
        (breaks({"error": {"message": "out of memory"}}), "the model service broke off with an error"),
        (breaks("{"), "the model service sent what is no answer"),
        (breaks("[" * 100_000), "the model service sent what is no answer"),
        (breaks(), "the model service's answer broke off"),
        (breaks("[DONE]"), "the model service's answer broke off"),
        (breaks(json.dumps({"choices": None}), "5", "null", "[]"), "the model service's answer broke off"),
        (breaks({"choices": [{"delta": {"content": 5}}]}), "the model service's answer broke off"),
        (breaks({"choices": 5}, {"choices": [None]}), "the model service's answer broke off"),
    ],
)
async def test_a_broken_answer_has_a_reason(bad, words):
    """What came before the break was handed on; an answer without an end is not taken for a whole one."""
    async with chat_server(bad) as server, provider_at(server.url) as provider:
        reply = provider.reply(HELLO)
        assert await anext(reply) == "Well"
        with pytest.raises(ProviderError) as caught:
            await anext(reply)
    assert caught.value.reason == words


async def test_a_dead_service_has_a_reason():
    """Nobody listens on the port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with provider_at(f"http://127.0.0.1:{unused.getsockname()[1]}/v1") as provider:
            assert await reason(provider) == "the connection to the model service failed"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("words", [(), ("Well",)])
async def test_a_silent_service_is_given_up(words):
    """Before its answer and within it; its connection is closed."""
    async with chat_server() as server, provider_at(server.url, silence=0.2) as provider:
        server.answers.append(server.hangs(*words))
        assert await reason(provider) == "the model service did not answer in time"
        await server.gone.wait()


@pytest.mark.parametrize("words", [(), ("Well",)])
async def test_cancelling_closes_the_request(words):
    """The service sees the connection end, whether it had begun to answer or not."""
    async with chat_server() as server, provider_at(server.url) as provider:
        server.answers.append(server.hangs(*words))
        task = asyncio.create_task(answer(provider))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.gone.wait()


async def test_closing_the_reply_closes_the_request():
    """A caller who has heard enough costs the service nothing more."""
    async with chat_server() as server, provider_at(server.url) as provider:
        server.answers.append(server.hangs("one"))
        async with aclosing(provider.reply(HELLO)) as reply:
            await anext(reply)
        await server.gone.wait()


@pytest.mark.parametrize(
    "bad",
    [
        fails(401, f"Incorrect API key provided: {SECRET}"),
        breaks({"error": {"message": SECRET}}),
        breaks(SECRET),
    ],
)
async def test_no_secret_is_in_an_error_or_a_log(bad, caplog):
    """Neither the key, nor what the service repeats of it, nor what stands in the URL, even when debugging."""
    caplog.set_level(logging.DEBUG)
    async with chat_server(bad) as server:
        url = server.url.replace("http://", f"http://user:{SECRET}@") + f"?key={SECRET}"
        async with provider_at(url) as provider:
            with pytest.raises(ProviderError) as caught:
                await answer(provider)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert SECRET not in caplog.text


async def test_the_log_says_where_and_why(caplog):
    """One line for the operator, with what to look at."""
    async with chat_server(fails(404)) as server, provider_at(server.url) as provider:
        await reason(provider)
    origin = server.url.removesuffix("/v1")
    assert caplog.messages == [
        f"ollama at {origin}: the model service has no such model (NotFoundError); "
        "check llm.url, llm.model and that the service runs"
    ]


async def test_openai_credentials_of_the_environment_stay_here(monkeypatch):
    """A service without a key of its own gets none of another's."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, SECRET)
    async with chat_server(says("ok")) as server:
        provider = OllamaProvider(ModelPlace("ollama", "llama", server.url, ""))
        await answer(provider)
        await provider.aclose()
    assert SECRET not in str(server.headers)


async def test_the_key_is_sent():
    """As the API wants it."""
    async with chat_server(says("ok")) as server, provider_at(server.url) as provider:
        await answer(provider)
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
