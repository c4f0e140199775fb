"""The model services that can be named, each with an API that OpenAI's client speaks."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tndrl.config import LlmConfig
from tndrl.errors import ConfigError


@dataclass(frozen=True)
class Service:
    """Where a service is unless ``llm.url`` says otherwise, and the variable with the key for it."""

    url: str
    variable: str
    needs_key: bool = True


SERVICES = {
    "ollama": Service("http://localhost:11434/v1", "OLLAMA_API_KEY", needs_key=False),
    "openai": Service("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": Service("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "google": Service("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
}


@dataclass(frozen=True)
class ModelPlace:
    """A model and how to reach it. ``repr`` keeps the key to itself, and so must everything else."""

    service: str
    model: str
    url: str
    key: str

    def __repr__(self) -> str:
        return f"ModelPlace({self.service}:{self.model})"


def place(llm: LlmConfig, service: str, model: str) -> ModelPlace:
    """Return where ``model`` of ``service`` is: at ``llm.url``, or where the service itself is.

    A key is sent only to the service whose variable holds it. Raises ``ConfigError`` for an unknown service and
    for a key that is missing.
    """
    known = SERVICES.get(service)
    if known is None:
        raise ConfigError(
            f"there is no such service; there are {', '.join(SERVICES)}, and 'openai' with llm.url is any "
            "server of that API",
            key="llm.model",
        )
    key = os.environ.get(known.variable, "")
    if not key and known.needs_key and not llm.url:
        raise ConfigError(f"{service} needs a key; set the variable {known.variable}", key="llm.model")
    return ModelPlace(service, model, (llm.url or known.url).rstrip("/"), key)
