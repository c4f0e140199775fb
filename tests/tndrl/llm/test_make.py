"""From a configuration to a provider."""

from __future__ import annotations

import sys

import pytest

from tndrl.config import BuiltinMcpServer, LlmConfig
from tndrl.errors import ConfigError
from tndrl.llm.echo import EchoProvider
from tndrl.llm.make import make_provider
from tndrl.llm.mcphost import McpHostProvider
from tndrl.llm.ollama import OllamaProvider


def problem(**settings):
    with pytest.raises(ConfigError) as caught:
        make_provider(LlmConfig(**settings))
    return str(caught.value)


def test_echo():
    """Its model is its options."""
    assert make_provider(LlmConfig(provider="echo")) == EchoProvider()
    assert make_provider(LlmConfig(provider="echo", model="times=3")) == EchoProvider(times=3)


async def test_ollama():
    """Where the configuration says."""
    settings = LlmConfig(provider="ollama", model="m", url="http://gpu/v1", system_prompt="Be.")
    provider = make_provider(settings)
    assert isinstance(provider, OllamaProvider)
    assert (provider._place.url, provider._system_prompt) == ("http://gpu/v1", "Be.")
    await provider.aclose()


def test_mcphost():
    """The model's name may have colons of its own."""
    settings = LlmConfig(provider="mcphost", model="ollama:qwen3:8b", system_prompt="Be.", max_steps=3)
    provider = make_provider(settings)
    assert isinstance(provider, McpHostProvider)
    assert (provider._place.model, provider._system_prompt, provider._max_steps) == ("qwen3:8b", "Be.", 3)


def test_a_provider_must_be_named():
    """The error says which there are."""
    assert problem() == "llm.provider: is not set; choose echo, ollama or mcphost"


def test_a_model_must_be_named():
    """The error shows how."""
    assert problem(provider="ollama") == "llm.model: ollama needs a model; name one, for example llama3.2"
    for model in (None, "llama3.2", "ollama:", ":llama3.2"):
        assert problem(provider="mcphost", model=model) == (
            "llm.model: mcphost needs provider:model; write for example ollama:llama3.2"
        )


def test_bad_options_of_echo_are_refused():
    """As any other setting."""
    assert problem(provider="echo", model="loud").startswith("llm.model: echo has the options")


def test_a_server_of_go_nodes_is_refused():
    """With what to write instead."""
    said = problem(provider="mcphost", model="ollama:m", mcp_servers={"files": BuiltinMcpServer(name="fs")})
    assert said.startswith("llm.mcpServers.files: the server 'fs' is built into Go nodes only; write ")


@pytest.mark.parametrize(
    ("provider", "package"),
    [("ollama", "openai"), ("mcphost", "openai"), ("mcphost", "mcp"), ("mcphost", "pydantic_ai")],
)
def test_a_missing_package_is_named(provider, package, monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    assert problem(provider=provider, model="ollama:m") == (
        f"llm.provider: {provider} needs packages that are not installed ({package}); "
        f"run: pip install 'tndrl[{provider}]'"
    )


def test_echo_needs_no_package(monkeypatch):
    """It works in a plain installation."""
    for package in ("openai", "mcp", "pydantic_ai"):
        monkeypatch.setitem(sys.modules, package, None)
    assert make_provider(LlmConfig(provider="echo")) == EchoProvider()
