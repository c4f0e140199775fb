"""A model and its tools: real MCP servers, and a real HTTP server in the place of the model."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from contextlib import aclosing, asynccontextmanager

import pytest

from support import tools
from support.chat_server import breaks, calls, chat_server, fails, says
from tndrl.errors import ProviderError, UsageError
from tndrl.llm.agent_loop import AgentLoop, _free_name
from tndrl.llm.provider import Turn
from tndrl.llm.services import ModelPlace
from tndrl.llm.tool_servers import ToolServer

SECRET = "sk-very-secret"  # noqa: S105 - it is one for the test only
HELLO = [Turn("user", "hello")]
ADD = ("shop__add", {"a": 1, "b": 2})


@asynccontextmanager
async def loop_at(model, *servers, **options):
    loop = AgentLoop(ModelPlace("openai", "m", model.url, SECRET), servers, **options)
    try:
        yield loop
    finally:
        await loop.aclose()


async def answer(loop, turns=HELLO):
    return "".join([piece async for piece in loop.reply(turns)])


async def reason(loop):
    with pytest.raises(ProviderError) as caught:
        await answer(loop)
    return caught.value.reason


def told(model, request=-1):
    """Return what the tools of the round before said to the model."""
    return [m["content"] for m in model.requests[request]["messages"] if m["role"] == "tool"]


async def test_without_tools_the_model_just_answers():
    """In its own pieces, after the system prompt and every turn."""
    turns = [Turn("user", "one"), Turn("agent", "two"), Turn("user", "three")]
    async with chat_server(says("Hel", "lo")) as model, loop_at(model, system_prompt="Be.") as loop:
        assert [piece async for piece in loop.reply(turns)] == ["Hel", "lo"]
    sent = [(m["role"], m["content"]) for m in model.requests[0]["messages"]]
    assert sent == [("system", "Be."), ("user", "one"), ("assistant", "two"), ("user", "three")]


async def test_the_model_gets_what_its_tool_answers():
    """What it says before and after are paragraphs of one answer."""
    model = chat_server(calls(ADD, text="Let me see."), says("It is ", "3."))
    async with model as model, loop_at(model, tools.over_stdio()) as loop:
        assert await answer(loop) == "Let me see.\n\nIt is 3."
    assert told(model) == ["3"]


async def test_a_tool_is_described_to_the_model():
    """Its name says which server it is of."""
    async with chat_server(says("ok")) as model, loop_at(model, tools.over_stdio()) as loop:
        await answer(loop)
    described = {tool["function"]["name"]: tool["function"] for tool in model.requests[0]["tools"]}
    assert described["shop__add"]["description"] == "Add two numbers."
    assert set(described["shop__add"]["parameters"]["properties"]) == {"a", "b"}


async def test_servers_of_both_kinds_work_together():
    """One round may call tools of several."""
    with tools.over_http() as web:
        model = chat_server(calls(ADD, ("web__add", {"a": 3, "b": 4})), says("ok"))
        async with model as model, loop_at(model, tools.over_stdio(), web) as loop:
            assert await answer(loop) == "ok"
    assert told(model) == ["3", "7"]


async def test_the_program_lives_from_prompt_to_prompt():
    """Connections are kept; both prompts are answered by one process."""
    model = chat_server(calls(ADD), says("one"), calls(ADD), says("two"))
    async with model as model, loop_at(model, tools.over_stdio()) as loop:
        assert await answer(loop) == "one"
        held = loop._sessions[0]._connection
        assert await answer(loop) == "two"
        assert loop._sessions[0]._connection is held


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("shop__fail", {}), "Error executing tool fail"),
        (("shop__add", "[1]"), "should be an object"),
        (("shop__add", "5"), "should be an object"),
        (("shop__add", '{"a":'), "Invalid JSON"),
        (("shop__nope", {}), "Unknown tool name"),
        (("shop__crash", {}), "Connection closed"),
    ],
)
async def test_the_model_hears_of_a_call_that_failed(call, words):
    """Whoever's mistake it was, the model may do better."""
    model = chat_server(calls(call), says("ok"))
    async with model as model, loop_at(model, tools.over_stdio()) as loop:
        assert await answer(loop) == "ok"
    assert words in told(model)[0]


async def test_rounds_of_calls_are_limited(tmp_path):
    """The tools of the round too many are not called."""
    count = calls(("shop__count", {"path": str(tmp_path / "times")}))
    model = chat_server(count, count, count, says("never"))
    async with model as model, loop_at(model, tools.over_stdio(), max_steps=2) as loop:
        assert await reason(loop) == "the model wanted more than 2 rounds of tool calls"
    assert (tmp_path / "times").read_text() == "xx"


async def test_as_many_rounds_as_allowed_are_fine():
    """The answer that follows them is not one."""
    model = chat_server(calls(ADD), calls(ADD), says("ok"))
    async with model as model, loop_at(model, tools.over_stdio(), max_steps=2) as loop:
        assert await answer(loop) == "ok"


@pytest.mark.parametrize("last", [ADD, ("shop__add", '{"a":')])
async def test_calls_of_no_tool_are_rounds_too(last):
    """A model that makes tools up comes to an end."""
    model = chat_server(calls(("shop__nope", {})), calls(last))
    async with model as model, loop_at(model, tools.over_stdio(), max_steps=1) as loop:
        assert await reason(loop) == "the model wanted more than 1 rounds of tool calls"


async def test_no_limit_is_one():
    """The library's own, of 50, does not hold."""
    answers = [calls(ADD)] * 60 + [says("ok")]
    async with chat_server(*answers) as model, loop_at(model, tools.over_stdio()) as loop:
        assert await answer(loop) == "ok"


async def test_a_dead_tool_server_fails_the_prompt():
    """Rather than leave the model without what it was promised."""
    dead = ToolServer("dead", ("false",))
    async with chat_server() as model, loop_at(model, tools.over_stdio(), dead) as loop:
        assert await reason(loop) == "the tool server 'dead' cannot be used"
    assert model.requests == []


async def test_cancelling_cancels_the_tool(tmp_path):
    """The server stops working."""
    model = chat_server(calls(("shop__hang", {"path": str(tmp_path / "state")})))
    async with model as model, loop_at(model, tools.over_stdio()) as loop:
        task = asyncio.create_task(answer(loop))
        await tools.written(tmp_path / "state", "running")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await tools.written(tmp_path / "state", "cancelled")


@pytest.mark.parametrize("words", [(), ("Well",)])
async def test_cancelling_closes_the_request(words):
    """The model's service sees the connection end, whether it had begun to answer or not."""
    async with chat_server() as model, loop_at(model) as loop:
        model.answers.append(model.hangs(*words))
        task = asyncio.create_task(answer(loop))
        await model.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await model.gone.wait()


async def test_closing_the_reply_closes_the_request():
    """A caller who has heard enough costs the service nothing more."""
    async with chat_server() as model, loop_at(model) as loop:
        model.answers.append(model.hangs("one"))
        async with aclosing(loop.reply(HELLO)) as reply:
            assert await anext(reply) == "one"
        await model.gone.wait()


@pytest.mark.parametrize("words", [(), ("Well",)])
async def test_a_silent_service_is_given_up(words):
    """Before its answer and within it."""
    async with chat_server() as model, loop_at(model, silence=0.3) as loop:
        model.answers.append(model.hangs(*words))
        assert await reason(loop) == "the model service did not answer in time"
        await model.gone.wait()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (fails(401, SECRET), "the model service refused our key"),
        (fails(503, SECRET), "the model service failed (HTTP 503)"),
        (breaks(end=False), "the connection to the model service failed"),
        (breaks({"error": {"message": SECRET}}), "the model service broke off with an error"),
        (breaks(), "the model service's answer broke off"),
        (breaks(SECRET), "the model service sent what is no answer"),
        (breaks("5"), "the model service sent what is no answer"),
        (breaks({"choices": [None]}), "the model service sent what is no answer"),
        (
            breaks({"choices": [{"delta": {"tool_calls": [None]}}]}),
            "the model service sent what is no answer",
        ),
        (breaks("[" * 100_000), "the model service sent what is no answer"),
    ],
)
async def test_a_bad_answer_has_a_reason(bad, words, caplog):
    """Nothing of what the service sent is in the error or the log; the next prompt is answered."""
    caplog.set_level(logging.DEBUG)
    async with chat_server(bad, says("ok")) as model, loop_at(model) as loop:
        with pytest.raises(ProviderError) as caught:
            await answer(loop)
        assert await answer(loop) == "ok"
    assert caught.value.reason == words
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caplog.text


async def test_there_must_be_a_prompt():
    """An empty conversation is the caller's mistake."""
    async with chat_server() as model, loop_at(model) as loop:
        with pytest.raises(UsageError):
            await answer(loop, [])


def test_names_are_what_the_api_takes():
    """Of plain characters, short, and each given once."""
    taken = {}
    for wanted in ("my shop__ä", "my.shop__ö", "x" * 80, "x" * 90):
        taken[_free_name(wanted, taken)] = wanted
    assert list(taken) == ["my_shop___", "my_shop____2", "x" * 64, "x" * 62 + "_2"]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in taken)
