"""The provider that a configuration asks for."""

from __future__ import annotations

from tndrl.config.schema import LlmConfig
from tndrl.errors import ConfigError
from tndrl.llm.echo import EchoProvider
from tndrl.llm.provider import Provider


def make_provider(config: LlmConfig) -> Provider:
    """Return the provider of ``config``; raises ConfigError."""
    if config.provider == "echo":
        return EchoProvider.from_text(config.model or "")
    raise ConfigError(f"there is no provider {config.provider}", key="llm.provider")
