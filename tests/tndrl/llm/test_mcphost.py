"""The provider with tools, as a node uses it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing

import pytest

from support import tools
from support.chat_server import calls, chat_server, says
from tndrl.errors import UsageError
from tndrl.llm.mcphost import McpHostProvider
from tndrl.llm.provider import Turn
from tndrl.llm.services import ModelPlace

HELLO = [Turn("user", "hello")]


def provider_at(model, **options):
    return McpHostProvider(ModelPlace("ollama", "m", model.url, ""), [tools.over_stdio()], **options)


async def test_prompts_are_answered_with_tools():
    """The system prompt and the limit of rounds reach the model's loop."""
    add = calls(("shop__add", {"a": 1, "b": 2}))
    async with chat_server(add, says("It is 3."), says("Yes.")) as model:
        provider = provider_at(model, system_prompt="Be.", max_steps=1)
        assert [piece async for piece in provider.reply(HELLO)] == ["It is 3."]
        assert [piece async for piece in provider.reply(HELLO)] == ["Yes."]
        await provider.aclose()
    assert model.requests[0]["messages"][0] == {"role": "system", "content": "Be."}


async def test_closing_the_reply_closes_the_request():
    """It goes through to the model's service."""
    async with chat_server() as model:
        model.answers.append(model.hangs("one"))
        provider = provider_at(model)
        async with aclosing(provider.reply(HELLO)) as reply:
            assert await anext(reply) == "one"
        await model.gone.wait()
        await provider.aclose()


async def test_nothing_is_loaded_before_there_is_a_prompt():
    """A conversation without one loads nothing, and closing has nothing to close."""
    async with chat_server() as model:
        provider = provider_at(model)
        with pytest.raises(UsageError):
            await anext(provider.reply([]))
        assert provider._loop is None
        await provider.aclose()


def test_a_node_without_a_prompt_does_not_load_the_agent_library():
    """Making the provider must not cost an idle node 50 MiB and its start a second."""
    script = (
        "import sys\n"
        "from tndrl.config import LlmConfig\n"
        "from tndrl.llm.make import make_provider\n"
        "make_provider(LlmConfig(provider='mcphost', model='ollama:m'))\n"
        "print(sorted({'openai', 'mcp', 'pydantic_ai', 'httpx2'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
