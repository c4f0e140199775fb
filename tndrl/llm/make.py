"""Makes the provider that a configuration asks for."""

from __future__ import annotations

from importlib.util import find_spec

from tndrl.config import LlmConfig
from tndrl.errors import ConfigError
from tndrl.llm.provider import Provider
from tndrl.llm.services import place

_PACKAGES = {"ollama": ("openai",), "mcphost": ("openai", "mcp", "pydantic_ai")}


def make_provider(llm: LlmConfig) -> Provider:
    """Return the provider that ``llm`` describes; nothing is connected or started yet.

    Loads no more than that provider needs. Raises ``ConfigError``: no provider, a model or key that is missing or
    unknown, an optional package that is not installed, and tool servers that cannot be what they are said to be.
    """
    if llm.provider is None:
        raise ConfigError("is not set; choose echo, ollama or mcphost", key="llm.provider")
    if llm.provider == "echo":
        from tndrl.llm.echo import EchoProvider

        return EchoProvider.from_text(llm.model or "")
    _require(llm.provider)
    return _ollama(llm) if llm.provider == "ollama" else _mcphost(llm)


def _ollama(llm: LlmConfig) -> Provider:
    from tndrl.llm.ollama import OllamaProvider

    if not llm.model:
        raise ConfigError("ollama needs a model; name one, for example llama3.2", key="llm.model")
    return OllamaProvider(place(llm, "ollama", llm.model), system_prompt=llm.system_prompt)


def _mcphost(llm: LlmConfig) -> Provider:
    from tndrl.llm.mcphost import McpHostProvider
    from tndrl.llm.tool_servers import tool_servers

    service, _, model = (llm.model or "").partition(":")
    if not service or not model:
        raise ConfigError("mcphost needs provider:model; write for example ollama:llama3.2", key="llm.model")
    return McpHostProvider(
        place(llm, service, model),
        tool_servers(llm),
        system_prompt=llm.system_prompt,
        max_steps=llm.max_steps,
    )


def _require(provider: str) -> None:
    missing = [name for name in _PACKAGES[provider] if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{provider} needs packages that are not installed ({', '.join(missing)}); "
            f"run: pip install 'tndrl[{provider}]'",
            key="llm.provider",
        )
